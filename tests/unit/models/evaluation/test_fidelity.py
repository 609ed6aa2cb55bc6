"""Rollouts are compared with true videos, beside floors; another project's too, and nothing odd is lost silently."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from assets.cli.main import main
from models.evaluation.fidelity.measure import Videos, in_parts, measure_fidelity
from models.evaluation.fidelity.of_world import measure_world_fidelity
from models.evaluation.fidelity.text import figure_lines
from models.evaluation.uncertainty import watch
from models.features.net import FeatureNet
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(fidelity_frames=6, fidelity_draws=20, bootstrap_draws=100, maskgit_steps=1)


def of_colours(name="colours", kind="video"):
    """A network whose features are the mean colours and the mean change of a video, or the colours of frames."""

    def run(video):
        means = video.float().mean((2, 3))
        return means if kind == "frames" else means.flatten(1)

    return FeatureNet(name, "0" * 64, 3 if kind == "frames" else 18, "any", kind, run)


NETS = [of_colours(), of_colours("frame-colours", "frames")]


def test_a_world_that_is_right_is_at_its_floors_and_one_that_is_wrong_is_not(make_ring_world, ring_clips):
    world = make_ring_world()
    codes = [clip.actions for clip in ring_clips]
    right = measure_world_fidelity(world, ring_clips, codes, NETS, CONFIG)
    wrong = measure_world_fidelity(world, ring_clips, [np.ones_like(each) for each in codes], NETS, CONFIG)
    for name in ("FVD[colours]", "FID[frame-colours]", "MMD[colours]"):
        assert right[name]["value"] == pytest.approx(0, abs=1e-6), name
        if not name.startswith("MMD"):  # the set of positions on a ring is nearly the same
            assert wrong[name]["value"] > wrong[name]["floors"]["tokenizer"]["value"] + 1e-3, name
        assert wrong[name]["low"] <= wrong[name]["value"] <= wrong[name]["high"], name
        assert right[name]["on_halves"]["value"] == pytest.approx(right[name]["floors"]["halves"]["value"], abs=1e-6)
    assert (right["FVD[colours]"]["num_sources"], right["FVD[colours]"]["num_samples"]) == (9, 18)
    # every fourth of six frames is one; two are looked at, because a difference needs two
    assert right["FID[frame-colours]"]["num_samples"] == 36
    assert right["FVD[colours]"]["net"]["sha256"] == "0" * 64
    assert right["rollout_psnr"]["value"] == 60
    assert right["rollout_ssim"]["value"] == pytest.approx(1)
    assert wrong["rollout_psnr"]["value"] < 30 < wrong["rollout_psnr"]["floors"]["tokenizer"]["value"]
    lines = "\n".join(figure_lines(wrong))
    assert "network colours: SHA-256 0000000000000000, 18 features" in lines
    assert "18 of 9 sources" in lines
    assert "none is the FVD of papers" in lines
    assert measure_world_fidelity(world, ring_clips, codes, [], CONFIG) == {}


def test_rollouts_that_are_there_already_are_not_made_again(make_ring_world, ring_clips):
    world = make_ring_world()
    codes = [clip.actions for clip in ring_clips]
    watched = watch(world, ring_clips, codes, CONFIG)
    calls = len(world.calls)
    found = measure_world_fidelity(world, ring_clips, codes, NETS, CONFIG, watched=watched)
    assert len(world.calls) == calls
    assert (found["FVD[colours]"]["num_samples"], found["rollout_psnr"]["value"]) == (18, 60)
    longer = replace(CONFIG, fidelity_frames=CONFIG.doubt_frames + 1)
    measure_world_fidelity(world, ring_clips, codes, NETS, longer, watched=watched)
    assert len(world.calls) > calls


def test_too_few_sources_are_no_number_but_a_sentence(make_ring_world, ring_clips):
    few = ring_clips[:3]
    found = measure_world_fidelity(make_ring_world(), few, [clip.actions for clip in few], NETS, CONFIG)
    assert found["FVD[colours]"]["value"] is found["MMD[colours]"]["value"] is None
    assert "too few to tell: 3 sources, and 8 are needed" in found["FVD[colours]"]["reason"]
    assert found["rollout_psnr"]["num_sources"] == 3
    short = EvaluationConfig(fidelity_frames=200)
    absent = measure_world_fidelity(make_ring_world(), few, [clip.actions for clip in few], NETS, short)
    assert "no held-out clip has 204 frames" in absent["FVD[colours]"]["reason"]


def test_figures_do_not_depend_on_the_parts_in_which_videos_come():
    rng = np.random.default_rng(0)
    true, guess = (rng.integers(0, 256, (20, 4, 12, 16, 3), dtype=np.uint8) for _ in "ab")
    videos = Videos(true, guess, None, [f"s{place % 10}" for place in range(20)])
    whole = measure_fidelity([videos], NETS, CONFIG, "", 10)
    assert measure_fidelity(in_parts(videos), NETS, CONFIG, "", 10) == whole
    assert "tokenizer" not in whole["FVD[colours]"]["floors"]


# -- another project's rollouts -----------------------------------------------------------------------------------


def save(folder, frames):
    folder.mkdir(parents=True)
    for place, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{place}.png")


@pytest.fixture
def rollouts(tmp_path):
    """Eleven frames each of nine sources: a picture that moves, and rollouts that are a little darker."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (9, 16, 40, 3), dtype=np.uint8)
    for place, picture in enumerate(wide):
        name = f"s{place}__a"
        true = np.stack([picture[:, 2 * t : 2 * t + 16] for t in range(11)])
        save(tmp_path / "true" / name, true)
        save(tmp_path / "generated" / name, (true * 0.9).astype(np.uint8))
        save(tmp_path / "permuted" / name, true[::-1])
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "s0__a.jsonl").write_text('{"action": 1}\n' * 11)
    return tmp_path


def judged(capsys, folder, *options, code=0):
    assert main(["evaluate", "--rollouts", str(folder), "--feature-net", "random3d", *options]) == code
    return capsys.readouterr()


def test_another_projects_rollouts_are_judged_twice_to_the_same_bytes(rollouts, capsys):
    text = judged(capsys, rollouts, "--json").out
    found = json.loads(text)
    assert judged(capsys, rollouts, "--json").out == text
    assert (found["compared"], found["sources"], found["frames"], found["size"]) == (9, 9, 11, [16, 16])
    assert (found["with_actions"], found["left_out"]) == (1, [])
    figures = found["figures"]
    fvd = figures["FVD[random3d]"]
    # frame 10 comes after frame 9: else PSNR would be that of other frames
    assert figures["rollout_psnr"]["value"] == pytest.approx(20 * np.log10(1 / 0.1) + 4.8, abs=1)
    assert fvd["low"] < fvd["value"] < fvd["high"]
    assert fvd["floors"]["halves"]["value"] > 0
    assert figures["delta_t4_psnr_permuted"]["low"] > 5
    assert figures["delta_t11_psnr_permuted"]["num_sources"] == 9
    other = json.loads(judged(capsys, rollouts, "--json", "--seed", "1").out)["figures"]["FVD[random3d]"]
    assert other["value"] == fvd["value"]
    assert other["low"] != fvd["low"]
    table = judged(capsys, rollouts).out
    assert "9 rollouts of 9 sources, 11 frames of 16x16; actions of 1; 0 left out" in table
    assert "SHA-256 1f1642b7c6488869" in table


def test_odd_items_are_named_with_their_reason_and_the_others_are_judged(rollouts, capsys):
    frames = np.zeros((11, 16, 16, 3), np.uint8)
    for name, own, other in (
        ("long", frames, frames[:7]),
        ("large", frames, np.zeros((11, 20, 16, 3), np.uint8)),
        ("short", frames[:9], frames[:9]),
        ("one", frames[:1], frames[:1]),
    ):
        save(rollouts / "true" / name, own)
        save(rollouts / "generated" / name, other)
    save(rollouts / "true" / "alone", frames)
    save(rollouts / "generated" / "orphan", frames)
    for kind in ("true", "generated"):
        (rollouts / kind / "text.mp4").write_bytes(b"no video")
        save(rollouts / kind / "none", [])
        save(rollouts / kind / "cut\x1b[2J", frames[:2])
        broken = rollouts / kind / "cut\x1b[2J" / "1.png"
        broken.write_bytes(broken.read_bytes()[:40])
    (rollouts / "actions" / "s1__a.jsonl").write_text('{"action": 1}\n' * 3)
    (rollouts / "actions" / "s2__a.jsonl").write_text("no json\n")
    save(rollouts / "reconstructed" / "s3__a", frames)
    found = json.loads(judged(capsys, rollouts, "--json").out)
    reasons = {each["item"]: each["reason"] for each in found["left_out"]}
    assert found["compared"] == 9
    assert set(reasons) == {
        "long", "large", "short", "one", "alone", "orphan", "text", "none", "cut\x1b[2J", "s1__a", "s2__a",
        "reconstructed/",
    }  # fmt: skip
    assert "7 frames of 16x16, and true/ has 11 frames" in reasons["long"]
    assert "16x20, and true/ has 11 frames of 16x16" in reasons["large"]
    assert "9 frames of 16x16, and most have 11 frames" in reasons["short"]
    assert "not in generated" in reasons["alone"]
    assert "3 rows for 11 frames" in reasons["s1__a"]
    assert "tokenizer" not in found["figures"]["FVD[random3d]"]["floors"]
    text = judged(capsys, rollouts).out
    assert "12 left out" in text
    assert "left out: cut?[2J: 1.png is no PNG" in text


def test_sources_come_from_a_file_where_there_is_one_and_one_source_is_too_few(rollouts, capsys):
    names = [f"s{place}__a" for place in range(9)]
    listed = rollouts / "sources.jsonl"
    listed.write_text("".join(json.dumps({"name": name, "source": "same"}) + "\n" for name in names[:8]))
    found = json.loads(judged(capsys, rollouts, "--json").out)
    assert found["sources"] == 1
    assert found["left_out"] == [{"item": "s8__a", "reason": "sources.jsonl does not name it"}]
    for figure in found["figures"].values():
        assert figure["value"] is None
        assert "too few to tell: 1 source, and" in figure["reason"]
        assert "add clips of other sources" in figure["reason"]
    listed.write_text('{"name": "s0__a"}\n')
    assert "line 1: write" in judged(capsys, rollouts, code=2).err


def test_a_folder_of_another_layout_is_refused_with_what_it_must_hold(tmp_path, capsys):
    assert "has no folder 'true' and no folder 'generated'" in judged(capsys, tmp_path, code=2).err
    for kind in ("true", "generated"):
        save(tmp_path / kind / "a", [])
    assert "no pair of videos that can be compared (a: it has no frame)" in judged(capsys, tmp_path, code=2).err
    assert main(["evaluate", "--rollouts", str(tmp_path), "--feature-net", "file:net.pt"]) == 2
    assert "--run-feature-files" in capsys.readouterr().err
    assert main(["evaluate", "--seed", "3"]) == 2
    assert "belong to --rollouts" in capsys.readouterr().err
