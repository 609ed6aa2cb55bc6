"""The commands of docs/experiments.md for the second domain, at toy size: recorded, cut whole, trained, evaluated."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from assets.cli.main import main

pytest.importorskip("pymunk", reason="the extra `robotics` (pymunk) is not installed")
TOY = {
    "source.settle_s": 0,
    "split.val_share": 0.5,
    "tokenizer.batch": 2,
    "tokenizer.steps": 2,
    "tokenizer.min_psnr": 1,
    "latent_actions.unquantized_steps": 2,
    "dynamics.batch": 2,
    "dynamics.steps": 2,
    "evaluation.windows_per_clip": 1,
    "evaluation.random_draws": 1,
    "evaluation.drift_contexts": 2,
    "evaluation.doubt_windows": 1,
    "evaluation.doubt_frames": 4,
    "evaluation.bootstrap_draws": 50,
    "evaluation.shuffles": 19,
    "evaluation.rollout_frames": 2,
    "evaluation.start_frames": 2,
    "evaluation.kmeans_patches": 500,
    "evaluation.inverse_dynamics_steps": 2,
    "evaluation.fidelity_frames": 4,
    "evaluation.fidelity_windows": 1,
    "evaluation.fidelity_draws": 10,
}


def printed(*arguments: str) -> str:
    """Run a command of lampworks and return what it prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert main(list(arguments)) == 0
    return shown.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_recorded_episodes_become_a_world_whose_actions_are_scored_by_what_was_commanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    episodes = ("tabletop", "--episodes", "8", "--seconds", "4", "--size", "64", "--workers", "1", "--out", "tabletop")
    assert "8 episodes in tabletop, 8 of them new" in printed(*episodes)
    assert "0 of them new" in printed(*episodes)
    settings = [part for name, value in TOY.items() for part in ("--set", f"{name}={value}")]
    run = ["run", "--root", "root", "--preset", "robotics-small", "--source", "folder:tabletop", *settings]
    assert "conserved" not in printed(*run)
    found = json.loads(printed("status", "--root", "root", "--json"))
    assert found["conserved"] is True
    # an episode is one clip, of its own length, and nothing of it is left over
    assert found["clips"]["total"] == 8
    assert found["curated"]["keep"] == 8
    metrics = found["evaluation"]
    assert metrics["delta_t_psnr_permuted"]["value"] is not None
    assert metrics["delta_t_psnr_true_permuted"]["value"] is not None
    assert metrics["latent_action_mutual_information"]["value"] is not None
    # what was commanded is in no sample that a training reads
    for tar in Path("root/shards").rglob("*.tar"):
        data = tar.read_bytes()
        assert b"up-left" not in data
        assert b"stay" not in data
    assert "everything is done" in printed("run", "--root", "root")
