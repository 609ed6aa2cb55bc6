"""Actions are read from recordings that the network never saw, or it is said why that cannot be told."""

from pathlib import Path

import numpy as np
import pytest

from assets.cli.main import main
from models.studies.read_actions import LATER, OTHERS, read_recording
from models.studies.recordings import Part, Recording
from pipeline.actions.join import ClipActions
from pipeline.config import EvaluationConfig

NAMES = ("stand", "left", "right")
CONFIG = EvaluationConfig(inverse_dynamics_steps=30, shuffles=20, bootstrap_draws=50)


@pytest.fixture(scope="module")
def recordings(ring_clips) -> list[Recording]:
    def part(clip, number):
        labels = tuple(NAMES[action] for action in clip.actions)
        return Part(number * 4000, clip.frames_THWC, ClipActions(str(number), labels, None))

    # both themes are in each recording
    return [Recording(f"r{n}", [part(clip, k) for k, clip in enumerate(ring_clips[n : n + 5])]) for n in range(3)]


def test_recordings_that_share_their_actions_are_read_by_a_network_of_the_others(recordings):
    found = read_recording(recordings, "r0", CONFIG)
    assert found["transitions"] == 200
    assert set(found["actions"]) == set(NAMES)
    for name in (OTHERS, LATER):
        assert found["figures"][name]["low"] > found["figures"][f"{name}_shuffled"]["high"]


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
