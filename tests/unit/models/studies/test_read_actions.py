"""Actions are read from recordings that the network never saw, or it is said why that cannot be told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assets.cli.main import main
from models.studies.read_actions import LATER, OTHERS, read_recording
from models.studies.recordings import Part, Recording, with_actions
from pipeline.actions.join import ClipActions
from pipeline.config import EvaluationConfig
from pipeline.config.clips import ClipConfig
from pipeline.errors import UserError

NAMES = ("stand", "left", "right")
CONFIG = EvaluationConfig(inverse_dynamics_steps=30, shuffles=20, bootstrap_draws=50)


@pytest.fixture(scope="module")
def recordings(ring_clips, ring_lessons) -> list[Recording]:
    def part(clip, number):
        labels = tuple(NAMES[action] for action in clip.actions)
        return Part(number * 4000, clip.frames_THWC, ClipActions(str(number), labels, None))

    # both themes are in each recording; the first is long enough that its last third has eight clips
    clips = [ring_lessons[:24], ring_clips[:5], ring_clips[4:]]
    return [Recording(f"r{n}", [part(clip, k) for k, clip in enumerate(own)]) for n, own in enumerate(clips)]


def test_recordings_that_share_their_actions_are_read_by_a_network_of_the_others(recordings):
    found = read_recording(recordings, "r0", CONFIG)
    assert found["transitions"] == 24 * 40
    assert set(found["actions"]) == set(NAMES)
    for name in (OTHERS, LATER):
        assert found["figures"][name]["low"] > found["figures"][f"{name}_shuffled"]["high"]


def test_the_later_clips_of_a_short_recording_are_read_and_not_compared_with_chance(recordings):
    found = read_recording(recordings[1:], "r1", CONFIG)["figures"]
    assert found[LATER]["value"] > 0.5
    assert found[LATER]["low"] is None
    assert found[f"{LATER}_shuffled"]["reason"].startswith("too few to tell: 2 clips have true actions that change")


def test_a_recording_with_one_action_alone_or_without_others_of_its_kind_is_too_few_to_tell(recordings):
    idle = Recording(
        "idle", [part._replace(actions=ClipActions("0", ("stand",) * 40, None)) for part in recordings[0].parts]
    )
    found = read_recording([idle, *recordings[1:]], "idle", CONFIG)["figures"]
    assert found[OTHERS]["reason"] == (
        "too few to tell: 0 other recordings share two actions or more with it, and 2 are needed"
    )
    assert found[LATER]["reason"].startswith("too few to tell: 1 actions have 20 transitions")
    assert np.all([metric["value"] is None for metric in found.values()])


def test_a_folder_without_recordings_is_refused_with_what_to_lay_there(tmp_path: Path, capsys):
    assert main(["study", "read-actions", "--recordings", str(tmp_path)]) == 2
    assert "name one with `videos/`" in capsys.readouterr().err
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"no video")
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "a.jsonl").write_text('{"action": 1}\n')
    assert main(["study", "read-actions", "--recordings", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "lay actions/NAME.jsonl beside" in said
    assert "; a: " in said


def lay(folder: Path, videos: Sequence[str], actions: str) -> None:
    for name in ("videos", "actions"):
        (folder / name).mkdir()
    for name in videos:
        (folder / "videos" / name).write_bytes(b"no video")
    (folder / "actions" / "a.jsonl").write_text(actions)


def test_two_videos_of_one_name_are_refused_with_both(tmp_path: Path):
    lay(tmp_path, ("a.mp4", "a.webm"), '{"action": 1}\n')
    with pytest.raises(UserError, match=r"a\.mp4' and .*a\.webm' have one name.*rename one"):
        with_actions(tmp_path, ClipConfig())


def test_a_bad_row_is_named_with_its_file_before_the_video_is_decoded(tmp_path: Path):
    # the video is none: had it been opened first, the reason would be another
    lay(tmp_path, ("a.mp4",), '{"keys": ["left"]}\n\n{"keys": 7}\n')
    found, problems = with_actions(tmp_path, ClipConfig())
    assert found == []
    assert problems["a"].startswith("actions/a.jsonl: line 3: its action is a whole number")
