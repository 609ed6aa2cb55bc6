"""Settings that no training can follow are refused where they are read, and what the refusal says is taken."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from pipeline.config import Config, load_config, parse_overrides
from pipeline.config.section import bounds_of
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("wrong", "says", "right"),
    [
        ("tokenizer.steps=0", "tokenizer.steps = 0: must be at least 1", ["tokenizer.steps=1"]),
        ("training.seed=-1", "training.seed = -1: must be at least 0", ["training.seed=0"]),
        (
            "tokenizer.encoder.ffw_multiple=-1",
            r"tokenizer\.encoder\.ffw_multiple = -1: must be above 0",
            ["tokenizer.encoder.ffw_multiple=1"],
        ),
        (
            "dynamics.stack.ffw_multiple=0.0001",
            r"ffw_multiple = 0\.0001: no channel of d_model = 96 is left; set it to 1 or more",
            ["dynamics.stack.ffw_multiple=1"],
        ),
        (
            "tokenizer.window=1",
            r"at most tokenizer\.window = 1 frames at once: raise tokenizer\.window to 2$",
            ["tokenizer.window=2"],
        ),
        (
            "dynamics.context=5",
            r"lower dynamics\.context to 2, or raise tokenizer\.window to 5$",
            ["dynamics.context=2", "dynamics.context=5 tokenizer.window=5"],
        ),
        (
            "tokenizer.latent_dim=200",
            r"lower tokenizer\.latent_dim \(now 200\) to 128, raise d_model of both to 200, or set tokenizer\.start",
            [
                "tokenizer.latent_dim=128",
                "tokenizer.latent_dim=200 tokenizer.encoder.d_model=200 tokenizer.decoder.d_model=200",
                "tokenizer.latent_dim=200 tokenizer.start=latents",
            ],
        ),
        ("dynamics.own_frame_share=2", "must lie between 0 and 1", ["dynamics.own_frame_share=1"]),
        ("latent_actions.ema_decay=1", "must be at least 0 and below 1", ["latent_actions.ema_decay=0.9"]),
        ("latent_actions.unquantized_steps=-1", "must be at least 0", ["latent_actions.unquantized_steps=1"]),
        ("latent_actions.commitment=-1", "must be at least 0", ["latent_actions.commitment=0"]),
        ("tokenizer.reconstruction_weight=0", "must be above 0", ["tokenizer.reconstruction_weight=0.1"]),
    ],
)
def test_an_impossible_setting_is_refused_and_what_the_refusal_says_is_taken(
    wrong: str, says: str, right: list[str]
) -> None:
    with pytest.raises(UserError, match=says):
        load_config(None, base="demo", **parse_overrides([wrong]))
    for settings in right:
        load_config(None, base="demo", **parse_overrides(settings.split()))


def test_no_seed_is_below_zero() -> None:
    # numpy and scikit-learn refuse a negative one in the middle of the work
    for name, section in typing.get_type_hints(Config).items():
        if dataclasses.is_dataclass(section) and "seed" in (known := typing.get_type_hints(section)):
            assert bounds_of(section)["seed"].ge == 0, f"{name}.seed: {known['seed']}"  # type: ignore[arg-type]
