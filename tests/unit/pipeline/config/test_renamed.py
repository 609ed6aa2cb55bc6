import dataclasses

import pytest

from pipeline.config import fingerprint, load_config, preset
from pipeline.config.renamed import RENAMED
from pipeline.errors import UserError

BEFORE = {
    "demo": ("ea5b741834c9", "288cf66d50c1", "315de85e4b3a", "b0ff606f5bb9"),
    "coinrun": ("12afdbe631f4", "ae6b087a8cb7", "faff6109e907", "a07f2fe4d123"),
    "platformers": ("55b4edaf644f", "50dcc4c944ca", "beced90f3c8a", "a07f2fe4d123"),
}
"""Fingerprints of tokenizer, latent_actions, dynamics and training, taken before any setting was renamed."""


@pytest.mark.parametrize("name", BEFORE)
def test_a_renamed_setting_changes_no_id(name):
    config = preset(name)
    sections = (config.tokenizer, config.latent_actions, config.dynamics, config.training)
    assert tuple(map(fingerprint, sections)) == BEFORE[name]


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
