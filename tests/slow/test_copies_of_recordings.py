"""Copies among real recordings: the true ones are found, made ones too, and no other play is taken for a copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips.duplicates import find_duplicates
from pipeline.clips.find_copies import looks_of_file
from pipeline.config import Config
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.media import run_ffmpeg

RECORDINGS = os.environ.get("LAMPWORKS_RECORDINGS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDINGS, reason="LAMPWORKS_RECORDINGS names no folder of real recordings"),
]

CONFIG = Config()
# three pairs of files that show the same play; then games on one screen, a menu, an editor that loops, and a maze
FILES = ("v001", "v005", "v007", "v009", "v015", "v025", "v035", "v037", "v051", "v057", "v061")
TRUE_COPIES = {"v051": "v005", "v057": "v007", "v061": "v001"}
VARIANTS = {
    "low": ["-vf", "scale=256:144,setsar=1,fps=24", "-crf", "36"],
    "late": ["-ss", "3.2", "-vf", "hflip,eq=brightness=0.08:contrast=1.2", "-crf", "28"],
    "bars": ["-vf", "scale=512:288,setsar=1,pad=512:400:0:56,drawbox=380:80:80:36:white@1:fill", "-crf", "28"],
}
# of one game every way, of another the one that changes most
MADE = [("v005", variant) for variant in VARIANTS] + [("v015", "late")]


def test_true_and_made_copies_are_found_and_no_other_play_is_dropped(store: Store, tmp_path: Path) -> None:
    videos = Path(RECORDINGS or "") / "videos"
    for name in FILES:
        [path] = videos.glob(f"{name}.*")
        add(store, name, path)
    for name, variant in MADE:
        options = VARIANTS[variant]
        seek, rest = (options[:2], options[2:]) if options[0] == "-ss" else ([], options)
        made = tmp_path / f"{name}-{variant}.mp4"
        run_ffmpeg(*seek, "-t", "33", "-i", videos / f"{name}.mp4", *rest, "-an", "-preset", "ultrafast", made)
        add(store, f"{name}-{variant}", made, batch="2026w47-0002")
    find_duplicates(Job(store, CONFIG, home_of(store)))
    rows = store.read("duplicates").to_pylist()
    copies = [row for row in rows if not row["is_representative"]]
    for row in copies:
        name, of = row["video_id"], video_of(row["representative"])
        assert of == TRUE_COPIES.get(name, name.split("-")[0]), (
            f"{row['clip_id']} is no copy of {row['representative']}"
        )
        assert name != of, "no clip is a copy of another moment of its own video"
    found = {row["video_id"] for row in copies}
    assert found == {*TRUE_COPIES, *(f"{name}-{variant}" for name, variant in MADE)}
    assert len([row for row in copies if row["video_id"] in TRUE_COPIES]) == 11
    made_clips = [row for row in rows if "-" in row["video_id"]]
    assert all(row["verified"] for row in made_clips), "every clip of a made copy is found"
    late = {(row["shift_ms"], row["mirrored"]) for row in made_clips if row["video_id"].endswith("late")}
    assert late == {(3200, True)}
    alike = {row["video_id"] for row in rows if row["similar_to"]}
    assert {"v015", "v035", "v037"} <= alike, "clips of one screen look alike, and are kept"


def add(store: Store, name: str, path: Path, batch: str = "2026w47-0001") -> None:
    """Put the looks of a file's clips in the store, as the clip stage does."""
    spec = clip_spec(CONFIG.clips)
    shared = {"video_id": name, "batch": batch, "clip_spec": spec, "source_sha256": "0"}
    rows = [
        shared | {"clip_id": clip_id_of(name, look.start_ms, spec)} | vars(look) for look in looks_of_file(path, CONFIG)
    ]
    store.append("videos", [{"video_id": name, "batch": batch, "channel_id": None}])
    store.append("clips", rows)
    store.append("clippings", [shared | {"state": "ok", "num_clips": len(rows)}])


def video_of(clip_id: str) -> str:
    return clip_id.rsplit("-", 2)[0]
