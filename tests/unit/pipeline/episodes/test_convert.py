"""Data sets of episodes become videos with their true actions, each format as its programs write it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.cli.main import main
from pipeline.actions.sidecar import read_sidecar
from pipeline.episodes.convert import SIDECAR, ConvertSettings, convert_episodes, file_stem
from pipeline.errors import UserError
from pipeline.sources.actions import actions_beside
from tests.media import write_video

FPS = ConvertSettings(fps=20)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Return flat pictures (T, 15, 17, 3), of odd sides, whose grey rises."""
    return np.broadcast_to((40 + seed + 10 * np.arange(count))[:, None, None, None], (count, 15, 17, 3)).astype(
        np.uint8
    )


def seen(path: Path) -> list[int]:
    """Return the grey of each frame of a video, to tens."""
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == 20
        return [round(frame.to_ndarray(format="gray").mean(), -1) for frame in container.decode(video=0)]


def actions_of(folder: Path, name: str) -> list[object]:
    found = actions_beside(str(folder / f"{name}.mp4"), str(folder), {})
    assert found.data is not None, found.why_not
    rows = read_sidecar(SIDECAR, found.data)
    return list(rows.labels) if rows.labels is not None else rows.values.tolist()


def test_arrays_of_a_gymnasium_like_program_are_episodes_and_a_bad_one_costs_no_other(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "easy").mkdir(parents=True)
    np.savez(data / "easy" / "one.npz", observations=pictures(5), actions=np.arange(4))
    ends = np.array([False, False, True, False, False, True, False, False])
    flat = {"images": pictures(8).transpose(0, 3, 1, 2), "actions": np.linspace(0, 1, 16).reshape(8, 2)}
    np.savez(data / "row.npz", **flat, terminals=ends, timeouts=np.zeros(8, bool))
    np.savez(data / "float.npz", pixels=pictures(3) / 255.0, action=np.array(["push", "grip", "push"]), fps=20)
    np.savez(data / "nan.npz", observations=pictures(3), actions=np.array([0.5, np.nan, 1]))
    np.savez(data / "short.npz", observations=pictures(6), actions=np.arange(3))
    np.savez(data / "blind.npz", observations=np.zeros((5, 4)), actions=np.arange(5))
    np.savez(data / "idle.npz", observations=pictures(3))
    np.savez(data / "merged.npz", observations=pictures(6), actions=np.arange(5), dones=ends[:5])
    np.savez(data / "wide.npz", observations=pictures(3), actions=np.zeros((3, 300)))
    np.savez(data / "dark.npz", observations=pictures(3) * -1.0, actions=np.arange(3))
    np.savez(data / "pickled.npz", observations=pictures(3), actions=np.array([{"a": 1}, None, 3], object))
    (data / "torn.npz").write_bytes((data / "row.npz").read_bytes()[:200])
    made = convert_episodes(data, out, FPS)
    assert made.written == ["easy/one", "float", "row/00000", "row/00001", "row/00002"]
    reasons = {
        "nan": "row 2: its action has a value that is no finite number",
        "short": "it has 3 actions and 6 pictures: there must be one a picture, or one less",
        "blind": "holds no pictures",
        "idle": "no array `actions`",
        "merged": "its episodes end at 1 of 5 steps, and it has 6 pictures: write one step a picture",
        "wide": "and 256 values of an action",
        "dark": "fractions outside of 0 to 1",
        "pickled": "pickled objects, which are not loaded",
        "torn": "cannot be read",
    }
    assert made.left_out.keys() == reasons.keys()
    assert all(why in made.left_out[name] for name, why in reasons.items())
    assert actions_of(out, file_stem("easy/one")) == ["0", "1", "2", "3"]
    assert seen(out / f"{file_stem('easy/one')}.mp4") == [40, 50, 60, 70, 80]
    assert actions_of(out, "float") == ["push", "grip", "push"]
    assert seen(out / f"{file_stem('row/00001')}.mp4") == [70, 80, 90]
    assert np.allclose(actions_of(out, file_stem("row/00002")), flat["actions"][6:])
    assert not [path for path in out.iterdir() if path.name.startswith(".tmp")]
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = convert_episodes(data, out, FPS)
    assert (again.written, len(again.there)) == ([], 5)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_hdf5_of_robomimic_minari_and_d4rl_is_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 needs the extra `episodes`: h5py")
    out = tmp_path / "out"
    with h5py.File(tmp_path / "robomimic.hdf5", "w") as file:
        for number in (2, 10):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = np.full((3, 7), number / 4)
            demo["obs/agentview_image"] = pictures(3, number)
            demo["obs/eye_in_hand_image"] = pictures(3)
            demo["next_obs/agentview_image"] = pictures(3)
            demo["obs/joint_pos"] = np.zeros((3, 7))
        file["data"].attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
    with pytest.raises(UserError, match=r"obs/agentview_image, obs/eye_in_hand_image\): name one with --camera"):
        convert_episodes(tmp_path / "robomimic.hdf5", out, ConvertSettings())
    made = convert_episodes(tmp_path / "robomimic.hdf5", out, ConvertSettings(camera="agentview"))
    assert made.written == ["robomimic/data/demo_2", "robomimic/data/demo_10"]
    assert seen(out / f"{file_stem('robomimic/data/demo_10')}.mp4") == [50, 60, 70]
    assert actions_of(out, file_stem("robomimic/data/demo_2")) == [[0.5] * 7] * 3

    with h5py.File(tmp_path / "others.h5", "w") as file:
        file["episode_0/observations"], file["episode_0/actions"] = pictures(4), np.array([1, 0, 1])
        file["episode_0"].attrs["fps"] = 20
        file["flat/observations/pixels"], file["flat/actions"] = pictures(4), np.zeros((4, 1), np.float32)
        file["flat/terminals"] = np.array([False, True, False, True])
        file["named/images"], file["named/actions"] = pictures(2), ["push", "grip"]
        file["elsewhere"] = h5py.ExternalLink("robomimic.hdf5", "data")
    with pytest.raises(UserError, match="give --fps"):
        convert_episodes(tmp_path / "others.h5", tmp_path / "none", ConvertSettings())
    made = convert_episodes(tmp_path / "others.h5", out, FPS)
    assert made.written == ["others/episode_0", "others/flat/00000", "others/flat/00001", "others/named"]
    assert actions_of(out, file_stem("others/named")) == ["push", "grip"]
    assert actions_of(out, file_stem("others/episode_0")) == ["1", "0", "1"]
    (tmp_path / "torn.h5").write_bytes((tmp_path / "others.h5").read_bytes()[:900])
    assert "cannot be read" in convert_episodes(tmp_path / "torn.h5", out, FPS).left_out["torn"]


def lerobot(folder: Path, version: str = "v2.1", **info: object) -> None:
    key = "observation.images.top"
    (folder / "meta").mkdir(parents=True)
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "videos" / "chunk-000" / key).mkdir(parents=True)
    about = {"codebase_version": version, "fps": 20, "total_episodes": 3, "chunks_size": 1000}
    features = {key: {"dtype": "video"}, "action": {"dtype": "float32"}}
    (folder / "meta" / "info.json").write_text(json.dumps(about | {"features": features} | info))
    tasks = [{"episode_index": number, "tasks": ["Push the blob"], "length": 3} for number in range(3)]
    (folder / "meta" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    for number in range(2):
        rows = {
            "action": [[0.5, float(number)]] * 3,
            "timestamp": pa.array([0, 0.05, 0.1], pa.float32()),
            "frame_index": [0, 1, 2],
        }
        pq.write_table(pa.table(rows), folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet")
        write_video(
            folder / "videos" / "chunk-000" / key / f"episode_{number:06d}.mp4", pictures(3)[:, :14, :16], fps=20
        )


def test_lerobot_keeps_its_videos_and_its_parquet_is_the_sidecar(tmp_path: Path) -> None:
    lerobot(tmp_path / "set")
    out = tmp_path / "out"
    made = convert_episodes(tmp_path / "set", out, ConvertSettings())
    assert made.written == ["episode_000000", "episode_000001"]
    assert made.left_out == {
        "episode_000002": "data/chunk-000/episode_000002.parquet is not there: copy it, or leave the episode out"
    }
    assert actions_of(out, "episode_000001") == [[0.5, 1.0]] * 3
    assert json.loads((out / "episode_000000.info.json").read_text())["description"] == "Push the blob"
    assert seen(out / "episode_000000.mp4") == [40, 50, 60]
    lerobot(tmp_path / "three", "v3.0")
    with pytest.raises(UserError, match=r"version v3.0 of LeRobot is not read; convert it to v2\.1"):
        convert_episodes(tmp_path / "three", out, ConvertSettings())
    for place in ("../../{episode_index}.parquet", "/etc/{episode_index}", "{video_key.__class__}"):
        folder = tmp_path / str(abs(hash(place)))
        lerobot(folder, data_path=place)
        with pytest.raises(UserError, match="is no path within the data set"):
            convert_episodes(folder, out, ConvertSettings())


def test_the_command_says_what_is_new_and_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(UserError, match=r"no data set of episodes is there; name a folder with \.npz or HDF5 files"):
        convert_episodes(data, tmp_path / "out", FPS)
    np.savez(data / "a.npz", observations=pictures(3), actions=np.arange(3))
    np.savez(data / "b.npz", observations=pictures(3))
    assert main(["episodes", str(data), "--out", str(tmp_path / "out"), "--fps", "20"]) == 0
    said = capsys.readouterr().out
    assert "left out  b: it has no array `actions` (it has observations)" in said
    assert "1 episodes in" in said
    assert "1 of them new, 1 left out" in said
    assert main(["episodes", str(data / "b.npz"), "--out", str(tmp_path / "none"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["episodes"] == 0


def test_a_machine_without_h5py_is_told_which_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.hdf5").write_bytes(b"")
    monkeypatch.setattr("pipeline.episodes.hdf5.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"run `pip install 'lampworks\[episodes\]'`"):
        convert_episodes(tmp_path, tmp_path / "out", FPS)
