"""Start frames unlike all that a world knows: they are drawn alike each time, and measured beside held-out ones."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from models.studies.drawn_prompts import palette_of, photo_like, pictures_of, sketch
from models.studies.prompts import FIGURES, REFERENCE, by_kind, look_at
from models.studies.recordings import first_frames, videos_in
from models.uncertainty.calibration import Calibration
from models.world.signals import FEATURES
from pipeline.actions.sidecar import read_sidecar
from pipeline.config import Config, EvaluationConfig
from pipeline.errors import UserError

CONFIG = EvaluationConfig(maskgit_steps=1)


def test_a_known_frame_survives_and_keys_part_its_rollouts(ring_world, ring_clips):
    seen = look_at(ring_world, ring_clips[0].frames_THWC[3], None, CONFIG, 2)
    assert seen.figures["round_trip"] == 60
    assert seen.figures["keys_apart"] > 5
    assert seen.figures["kept_last"] < seen.figures["round_trip"]
    assert seen.frames_NHWC.shape[0] == 2 + ring_world.num_actions
    # nothing is said of doubt where it was not calibrated
    assert seen.figures["doubt_t1"] is seen.figures["guessing"] is None
    assert set(seen.figures) == {figure.name for figure in FIGURES}


def test_keys_of_a_world_that_ignores_them_are_not_apart(scene_world, ring_clips):
    one_theme = ring_clips[0].frames_THWC[3]
    scene_world.num_actions = 1
    assert look_at(scene_world, one_theme, None, CONFIG, 1).figures["keys_apart"] == 0


def test_the_light_is_read_from_the_calibration_of_the_world(ring_world, ring_clips):
    rises = np.tile(np.linspace(0, 1, 17), (len(FEATURES), 1))
    weights = np.full(len(FEATURES), 1 / len(FEATURES))
    always = Calibration(rises, weights, np.array([0.0, 1.0]), np.array([0.2, 0.4]), limit_mse=0.1)
    never = Calibration(rises, weights, np.array([0.0, 1.0]), np.array([0.02, 0.04]), limit_mse=0.1)
    frame = ring_clips[0].frames_THWC[0]
    on, off = (look_at(ring_world, frame, each, CONFIG, 2).figures for each in (always, never))
    assert (on["guessing"], off["guessing"]) == (1, 0)
    assert on["expected_psnr"] == pytest.approx(-10 * np.log10(0.2))


def test_kinds_are_compared_with_held_out_frames_and_too_few_pictures_are_said():
    def pictures(doubts):
        return [{**dict.fromkeys((figure.name for figure in FIGURES), 1.0), "doubt_t1": doubt} for doubt in doubts]

    found = by_kind(
        {
            REFERENCE: pictures([0.1, 0.2, 0.3, 0.2, 0.1]),
            "sketches": pictures([0.4, 0.5, 0.6, 0.5, 0.4]),
            "alike": pictures([0.1, 0.2, 0.3, 0.2, 0.1]),
            "one": pictures([0.9]),
            "unknown": pictures([None, None]),
            "none": [],
        }
    )
    assert found["sketches"]["told_apart"]["low"] == 1
    assert found["alike"]["told_apart"]["value"] == 0.5
    assert found["sketches"]["doubt_t1"]["low"] < 0.5 < found["sketches"]["doubt_t1"]["high"]
    assert found["one"]["doubt_t1"]["reason"] == "too few to tell: 1 picture, and 2 are needed"
    assert found["one"]["told_apart"]["reason"].startswith("too few to tell")
    assert "not evaluated" in found["unknown"]["doubt_t1"]["reason"]
    assert {found["none"][figure.name]["reason"] for figure in FIGURES} == {"no picture of this kind can be read"}
    assert "told_apart" not in found[REFERENCE]
    json.dumps(found, allow_nan=False)


def test_the_same_seed_draws_the_same_sketch_in_the_colours_of_the_world():
    frames = np.zeros((2, 30, 40, 3), np.uint8)
    frames[:, 15:] = (200, 40, 10)
    frames[:, :4] = (10, 200, 40)
    palette = palette_of(frames)
    assert palette[0].tolist() == [200, 40, 10]
    drawn = [sketch(seed, palette, 45, 80) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    colours = {tuple(colour) for colour in drawn[0].reshape(-1, 3).tolist()}
    assert colours <= {*map(tuple, palette.tolist()), (20, 20, 20)}


def test_photo_like_pictures_have_more_colours_than_a_drawing():
    picture = photo_like(0, 45, 80)
    assert picture.shape == (45, 80, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000
    assert np.array_equal(picture, photo_like(0, 45, 80))


def test_photographs_of_a_folder_keep_their_form_and_other_files_are_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(UserError, match="holds no picture"):
        pictures_of(tmp_path, 2, 45, 80)
    Image.new("RGB", (30, 90), (0, 255, 0)).save(tmp_path / "b.png")
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    head, data, *more = (tmp_path / "a.png").read_bytes().split(b"IDAT")
    # the second part of the pixels is of no kind that there is
    (tmp_path / "a.png").write_bytes(head + b"IDAT" + data + b"\1\2\3\4" + b"IDAT".join(more))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / ".hidden").write_text("no picture")
    [found], left_out = pictures_of(tmp_path, 2, 45, 80)
    assert left_out == {
        "a.png": "it cannot be read (SyntaxError)", "a.txt": "it is no picture", "pipe.png": "it is no file",
    }  # fmt: skip
    assert found.shape == (45, 80, 3)
    assert found[20, 40].tolist() == [0, 255, 0]
    assert found[20, 2].tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="is no folder"):
        pictures_of(tmp_path / "none", 2, 45, 80)
    with pytest.raises(UserError, match="is no folder"):
        videos_in(tmp_path)


def test_recordings_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    frames, left_out = first_frames(tmp_path, Config().clips, 2)
    assert frames == []
    assert list(left_out) == ["broken.mp4"]
    assert left_out["broken.mp4"]


def test_rows_that_name_held_keys_have_them_as_their_action(tmp_path):
    sidecar = tmp_path / "v.jsonl"
    sidecar.write_text('{"t": 0.0, "keys": ["RIGHT", "JUMP"]}\n{"t": 0.1, "keys": []}\n')
    assert read_sidecar(sidecar.name, sidecar.read_bytes()).labels == ("JUMP+RIGHT", "none")
    sidecar.write_text('{"t": 0.0, "keys": ["RIGHT"], "action": 3}\n')
    assert read_sidecar(sidecar.name, sidecar.read_bytes()).labels == ("3",)
