"""Pictures hold the frames that they claim to hold."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models.evaluation.action_names import ActionName
from models.evaluation.pictures import contact_sheet, frame_of, png_of, rollout_gif, rollout_sheet

NAMES = [ActionName(code, "view moves left", "←", -4.0, 0.0, 1.0) for code in range(5)]


def _frames(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 90, 160, 3), dtype=np.uint8)


def _holds(picture, frame):
    # where the frame's first row is found, the rest must follow
    pixels = np.asarray(picture.convert("RGB"))
    for top in range(pixels.shape[0] - 89):
        for left in np.flatnonzero((pixels[top] == frame[0, 0]).all(-1)):
            if np.array_equal(pixels[top : top + 90, left : left + 160], frame):
                return True
    return False


def test_the_contact_sheet_holds_true_and_reconstructed_frames():
    true, shown = _frames(2, 3), _frames(2, 3)[::-1].copy()
    with Image.open(io.BytesIO(contact_sheet(true, shown))) as sheet:
        assert sheet.height >= 4 * 90
        assert _holds(sheet, true[1, 2])
        assert _holds(sheet, shown[0, 0])
        assert not _holds(sheet, _frames(3, 3)[2, 0])


def test_the_rollout_sheet_has_a_row_for_every_action():
    held = _frames(5, 4)
    with Image.open(io.BytesIO(rollout_sheet(held, NAMES))) as sheet:
        assert all(_holds(sheet, held[code, 3]) for code in range(5))


def test_a_twin_is_shown_as_one():
    held, twins = _frames(5, 2), [replace(name, twin_of=0) if name.code else name for name in NAMES]
    assert [name.note for name in twins[:2]] == ["", "twin of 1"]
    assert rollout_sheet(held, twins) != rollout_sheet(held, NAMES)
    assert rollout_gif(held, twins) != rollout_gif(held, NAMES)


def test_the_gif_loops_through_every_frame_and_is_the_same_every_time():
    held = _frames(5, 4) // 64 * 64
    data = rollout_gif(held, NAMES)
    assert data == rollout_gif(held, NAMES)
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 400
        first = np.asarray(gif.convert("RGB"))
        gif.seek(1)
        assert gif.info["duration"] == 200
        assert not np.array_equal(first, np.asarray(gif.convert("RGB")))


@pytest.mark.parametrize("label", ["nothing steady", "view moves to the left, and what it holds falls down"])
def test_labels_of_small_frames_stay_above_their_own_tile(label):
    names = [ActionName(code, label, "~", 0.0, 0.0, 1.0) for code in range(4)]
    with Image.open(io.BytesIO(rollout_gif(np.zeros((4, 2, 64, 64, 3), np.uint8), names))) as gif:
        labels = np.asarray(gif.convert("RGB"))[4:16]
    paper = labels[0, 0]
    inked = (labels != paper).any((0, 2))
    tile = (gif.width - 4) // 4
    assert tile == 128 + 4
    between = [column for code in range(4) for column in range(4 + code * tile + 128, 4 + (code + 1) * tile)]
    assert not inked[between].any()
    assert all(inked[4 + code * tile : 4 + code * tile + 128].any() for code in range(4))


def test_a_frame_comes_back_from_its_png():
    frame = _frames(1)[0]
    assert np.array_equal(frame_of(png_of(frame)), frame)
