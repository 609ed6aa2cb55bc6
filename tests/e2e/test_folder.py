"""`lampworks run` on a folder of real recordings with every trap in it, as a user would start it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.snapshots import digests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
GOOD = ("plain.mp4", "sixty.mp4", "vp9.webm", "silent and sounding.mkv", "variable.mp4", "late.mkv")
ODD = ("vertical.mp4", "four by three.mp4")
# short ones: what is tried here does not depend on their length
CLIPS = {"seconds": 4}
BROKEN = {"zero.mp4", "page.mp4", "truncated.mp4"}


def test_a_folder_with_every_trap_ends_as_clips_or_as_rows_with_a_reason(
    tmp_path: Path,
    trap_folder: Path,
    tiny_settings: dict[str, Any],
    lampworks: Any,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump({**tiny_settings, "clips": CLIPS, "split": {"val_share": 0.3, "salt": "s2"}}), "utf-8"
    )
    labels = tmp_path / "labels.csv"
    rows = [f"{name},0,5" for name in GOOD] + [f"{name},0,1" for name in ODD] + ["zero.mp4,0,1", "short.mp4,0,3"]
    labels.write_text("video,start_s,rating\n" + "\n".join(rows) + "\n", "utf-8")
    root = tmp_path / "root"
    arguments = ("--root", str(root), "--source", f"folder:{trap_folder}", "--config", str(config))

    output = lampworks("run", *arguments, "--labels", str(labels), "--select", "+curated_clips")
    assert "Traceback" not in output

    state = json.loads(lampworks.here("status", "--root", str(root), "--json"))
    assert state["conserved"] is True
    assert state["videos"]["found"] == state["videos"]["kept"] == 13
    assert sum(state["downloads"]["failed"].values()) + sum(state["clips"]["failed"].values()) == len(BROKEN)
    assert state["downloads"]["pending"] == 0
    assert state["clips"]["total"] == 9  # every whole recording gives one; the one of 3 s gives none
    assert state["labels"]["by_rating"] == {"1": 2, "2": 0, "3": 0, "4": 0, "5": 6}
    assert state["labels"]["unresolved"] == 2
    assert sum(state["curated"][name] for name in ("keep", "drop", "review")) == 9

    for name in sorted(BROKEN):
        told = lampworks.here("why", name, "--root", str(root))
        assert "invalid_media" in told or "decode_error" in told, told
    assert "left over" in lampworks.here("why", "short.mp4", "--root", str(root))

    before = digests(root)
    lampworks.here("run", *arguments, "--labels", str(labels), "--select", "+curated_clips")
    assert digests(root) == before

    table = tmp_path / "clips.parquet"
    lampworks.here("export", str(table), "--root", str(root))
    assert table.stat().st_size > 0


def test_without_labels_the_graph_stops_at_the_classifier_and_a_flags_only_decision_is_possible(
    tmp_path: Path, make_video: Callable[..., Path], tiny_settings: dict[str, Any], lampworks: Any
) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    world = rng.integers(0, 255, (9, 64, 3)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
    frames = np.stack([np.roll(world, -3 * step, 1)[:, :160] for step in range(50)])
    make_video(tmp_path / "videos" / "one.mp4", frames, fps=10)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**tiny_settings, "clips": CLIPS}), "utf-8")
    arguments = ("--root", str(tmp_path / "root"), "--source", f"folder:{tmp_path}/videos", "--config", str(config))

    output = lampworks.here("run", *arguments, code=2)
    assert "lampworks label" in output
    assert "2 more" in output
    state = json.loads(lampworks.here("status", "--root", str(tmp_path / "root"), "--json"))
    assert state["clips"]["total"] == 1

    config.write_text(yaml.safe_dump({**tiny_settings, "clips": CLIPS, "decision": {"mode": "flags"}}), "utf-8")
    output = lampworks.here("run", *arguments, "--select", "+curated_clips")
    assert "flags" in output
    state = json.loads(lampworks.here("status", "--root", str(tmp_path / "root"), "--json"))
    assert state["curated"]["keep"] == 1
