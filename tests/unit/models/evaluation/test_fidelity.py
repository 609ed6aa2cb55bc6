"""Rollouts are compared with true videos, beside floors; another project's too, and nothing odd is lost silently."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from assets.cli.main import main
from models.evaluation.fidelity import sets
from models.evaluation.fidelity.measure import PART, Videos, in_parts, measure_fidelity
from models.evaluation.fidelity.of_world import measure_world_fidelity
from models.evaluation.fidelity.text import figure_lines
from models.evaluation.foreign import judge, read_video
from models.evaluation.foreign.read_video import LARGEST_VIDEO
from models.evaluation.uncertainty import watch
from models.features.choose import MissingNet
from models.features.net import BATCH, FeatureNet
from pipeline.config import EvaluationConfig
from pipeline.errors import PermanentError
from pipeline.feature_nets import LITE0

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
    nets = [*NETS, of_colours(LITE0, "frames"), MissingNet("transnetv2", "install it")]
    absent = measure_world_fidelity(make_ring_world(), few, [clip.actions for clip in few], nets, short)
    # the very figures that a long enough clip has, each with its reason, and with its network where it is on one
    on_nets = {"FVD[colours]", "MMD[colours]", "FID[frame-colours]", "MMD[frame-colours]"}
    on_nets |= {f"FID[{LITE0}]", f"MMD[{LITE0}]", f"rollout_distance[{LITE0}]"}
    on_nets |= {"FVD[transnetv2]", "MMD[transnetv2]"}
    assert set(absent) == on_nets | {"rollout_psnr", "rollout_ssim"}
    for name, figure in absent.items():
        assert figure["value"] is None
        missing = "transnetv2" in name
        assert ("install it" if missing else "no held-out clip has 204 frames") in figure["reason"]
        assert (figure.get("net", {}).get("sha256") == "0" * 64) == (name in on_nets and not missing), name


def test_figures_do_not_depend_on_the_parts_in_which_videos_come():
    rng = np.random.default_rng(0)
    true, guess = (rng.integers(0, 256, (20, 4, 12, 16, 3), dtype=np.uint8) for _ in "ab")
    videos = Videos(true, guess, None, [f"s{place % 10}" for place in range(20)])
    whole = measure_fidelity([videos], NETS, CONFIG, "", 10)
    assert measure_fidelity(in_parts(videos), NETS, CONFIG, "", 10) == whole
    assert "tokenizer" not in whole["FVD[colours]"]["floors"]


def test_every_figure_on_a_network_names_it_where_there_is_a_value_and_where_there_is_none():
    rng = np.random.default_rng(0)
    true, guess = (rng.integers(0, 256, (4, 4, 12, 16, 3), dtype=np.uint8) for _ in "ab")
    videos = Videos(true, guess, None, ["a", "b", "c", "d"])
    nets = [of_colours(), of_colours(LITE0, "frames"), MissingNet("transnetv2", "install it")]
    for least in (4, 8):
        found = measure_fidelity([videos], nets, replace(CONFIG, min_sources=least), "", 4)
        assert list(found) == [
            "FVD[colours]", "MMD[colours]", f"FID[{LITE0}]", f"MMD[{LITE0}]", "FVD[transnetv2]", "MMD[transnetv2]",
            "rollout_psnr", "rollout_ssim", f"rollout_distance[{LITE0}]",
        ]  # fmt: skip
        named = {name for name, figure in found.items() if figure.get("net")}
        assert named == {name for name in found if "[" in name and "transnetv2" not in name}
        assert (found["MMD[colours]"]["value"] is None) == (least == 8)
        assert found[f"rollout_distance[{LITE0}]"]["value"] > 0


def test_a_discrepancy_of_too_many_sources_has_a_reason_and_the_frechet_distance_stands(monkeypatch):
    monkeypatch.setattr(sets, "MOST_SOURCES", 3)
    true = np.random.default_rng(0).integers(0, 256, (4, 4, 12, 16, 3), dtype=np.uint8)
    videos = Videos(true, true[::-1], None, ["a", "b", "c", "d"])
    found = measure_fidelity([videos], NETS[:1], replace(CONFIG, min_sources=4), "", 4)
    assert found["FVD[colours]"]["value"] is not None
    assert found["MMD[colours]"]["value"] is None
    assert found["MMD[colours]"]["reason"].startswith("4 sources, and 3 are the most")


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
    said = "9 rollouts of 9 sources, 11 frames of 16x16; 0 left out; actions of 1"
    assert said in table
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


def test_files_and_folders_that_are_not_read_are_left_out_by_name(rollouts, capsys):
    for kind in ("true", "generated"):
        (rollouts / kind / "a.m4v").write_bytes(b"a video of another ending")
        (rollouts / kind / ".hidden").write_bytes(b"")
        save(rollouts / kind / "mixed", np.zeros((11, 16, 16, 3), np.uint8))
        Image.new("RGB", (16, 16)).save(rollouts / kind / "mixed" / "11.JPG")
    (rollouts / "generated" / "noending").write_bytes(b"")
    (rollouts / "actions" / "s3__a.csv").write_text("action\n1\n")
    (rollouts / "reconstructions").mkdir()
    left = {each["item"]: each["reason"] for each in json.loads(judged(capsys, rollouts, "--json").out)["left_out"]}
    assert set(left) == {
        "true/a.m4v", "generated/a.m4v", "generated/noending", "actions/s3__a.csv", "reconstructions/", "mixed"
    }  # fmt: skip
    assert left["true/a.m4v"].startswith("files of the ending '.m4v' are not read here: give .mp4")
    assert left["actions/s3__a.csv"].endswith("give .jsonl")
    assert "the names are true, generated, reconstructed" in left["reconstructions/"]
    assert left["mixed"] == "it has 11.JPG, and only PNG frames are read: save all frames as PNG"


def test_a_video_of_more_bytes_than_are_held_is_named_with_the_limit_before_it_is_read(rollouts, capsys, monkeypatch):
    # 11 links to one small file of a picture that is 12 MB in memory
    picture = rollouts / "black.png"
    Image.new("RGB", (2048, 2048)).save(picture)
    for kind in ("true", "generated"):
        (rollouts / kind / "links").mkdir()
        for place in range(11):
            (rollouts / kind / "links" / f"{place}.png").symlink_to(picture)
    read = []
    real = read_video._read_picture
    monkeypatch.setattr(read_video, "_read_picture", lambda path, *rest: (read.append(path), real(path, *rest))[1])
    found = json.loads(judged(capsys, rollouts, "--json").out)
    assert found["compared"] == 9
    (left,) = found["left_out"]
    assert left["item"] == "links"
    assert left["reason"].startswith("11 frames of 2048x2048 are 132 MB in memory, and 128 MB a video are the most")
    assert [path.name for path in read if "links" in path.parts] == ["0.png"]


def test_the_bytes_of_a_video_file_are_counted_as_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "black.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frame_bytes = 64 * 48 * 3
    monkeypatch.setattr(read_video, "LARGEST_VIDEO", 5 * frame_bytes)
    assert read_video.read_video(path).shape == (5, 48, 64, 3)
    monkeypatch.setattr(read_video, "LARGEST_VIDEO", 4 * frame_bytes)
    with pytest.raises(PermanentError, match=r"5 frames of 64x48 are 0 MB in memory, and 0\.0352 MB"):
        read_video.read_video(path)


def test_fewer_large_videos_are_held_at_a_time_and_the_figures_stay(rollouts, capsys, monkeypatch):
    whole = judged(capsys, rollouts, "--json").out
    video = 11 * 16 * 16 * 3
    for folders in (2, 3):
        assert judge.part_size(video, folders) == PART
        for size in (LARGEST_VIDEO // 3, LARGEST_VIDEO // 2, LARGEST_VIDEO):
            held = judge.part_size(size, folders)
            assert held % BATCH == 0 < held <= PART
            assert held * size * folders <= judge.MOST_TOGETHER
    monkeypatch.setattr(judge, "MOST_TOGETHER", 2 * 4 * video)
    assert judge.part_size(video, 2) == 4
    assert judged(capsys, rollouts, "--json").out == whole


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
