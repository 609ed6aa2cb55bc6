"""The study of CoinRun says what its figures are of, by its settings and by what its root holds."""

from __future__ import annotations

from argparse import Namespace

from assets.cli.study_coinrun import differs
from pipeline.coinrun.settings import study_settings
from pipeline.config import load_config


def test_rollouts_and_levels_are_told_as_they_are() -> None:
    values = study_settings("folder:episodes", "toy", 100)
    values["evaluation"] |= {"horizon": 6, "prompt_frames": 3, "fidelity_frames": 8}
    config = load_config(None, base="coinrun", **{name: value for name, value in values.items() if name != "preset"})
    said = " ".join(differs(Namespace(levels=20, width="toy"), values, config, (13, 26)))
    for part in ("rollouts of 6 frames from one", "8 frames after 3", "on 13 of the 20 levels (26 recordings;"):
        assert part in said
