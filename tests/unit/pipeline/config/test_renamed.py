import dataclasses

import pytest

from pipeline.config import fingerprint, load_config, preset
from pipeline.config.renamed import RENAMED
from pipeline.errors import UserError


@pytest.mark.parametrize("name", ["demo", "coinrun", "platformers"])
def test_a_renamed_setting_changes_no_id(name):
    section = preset(name).latent_actions
    values = dataclasses.asdict(section)
    values["continuous_start_steps"] = values.pop("unquantized_steps")
    values["joint_rate"] = values.pop("joint_lr_scale")
    assert fingerprint(section) == fingerprint(values)


def test_an_old_name_in_a_file_is_read_with_a_warning_that_names_the_new_one(tmp_path):
    path = tmp_path / "lampworks.yaml"
    path.write_text("latent_actions: {continuous_start_steps: 7}")
    with pytest.warns(FutureWarning, match=r"continuous_start_steps is now called latent_actions.unquantized_steps"):
        config = load_config(path)
    assert config.latent_actions.unquantized_steps == 7


def test_a_setting_under_both_of_its_names_is_refused(tmp_path):
    path = tmp_path / "lampworks.yaml"
    path.write_text("latent_actions: {joint_rate: 0.5, joint_lr_scale: 0.25}")
    with pytest.raises(UserError, match=r"latent_actions.joint_rate is the old name of latent_actions.joint_lr_scale"):
        load_config(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_old_name_leads_to_a_setting_that_exists():
    config = preset("demo")
    for section, names in RENAMED.items():
        values = dataclasses.asdict(getattr(config, section))
        for old, new in names.items():
            assert load_config(None, base="demo", **{section: {old: values[new]}}) == config
