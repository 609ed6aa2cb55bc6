"""The study of curation: three arms of the right clips, and a direction that is told whatever it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from assets.cli.main import main
from models.evaluation.held_out import HeldOutClip
from models.studies import curation
from models.studies.curation import CurationStudy, ablation
from models.studies.curation_clips import CuratedPool, curated_pool, held_out_curated, held_out_pool, num_sources
from models.studies.runner import name_of
from models.studies.study import Finished, Run, Scope
from pipeline.config import Config
from pipeline.config.training import TrainingConfig
from pipeline.ids import split_clip_id
from pipeline.job import Job
from pipeline.shards.splits import group_of, split_of
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.laws.stages import World


@pytest.fixture
def job(world: World) -> Job:
    return Job(world.finished, world.config, home_of(world.finished))


@pytest.mark.heavy
def test_arms_are_of_training_sources_and_a_subset_is_as_large_as_the_curated_set(job: Job) -> None:
    clips = curated_pool(job.store, job.config)
    ids = [clip.clip_id for clip in clips.pool]
    assert {clip.clip_id for clip in clips.curated} < set(ids)
    for seed in (0, 1):
        subset = [clip.clip_id for clip in clips.subset(seed)]
        assert len(set(subset)) == len(clips.curated)
        assert set(subset) <= set(ids)
        assert subset == [clip.clip_id for clip in clips.subset(seed)]
    assert len({tuple(clip.clip_id for clip in clips.subset(seed)) for seed in range(8)}) > 1
    of_split = {
        row["video_id"]: split_of(group_of(row), job.config.split) for row in job.store.read("videos").to_pylist()
    }
    assert {of_split[split_clip_id(clip)[0]] for clip in ids} == {"train"}
    curated, pool = held_out_curated(job, job.config), held_out_pool(job.store, job.config)
    assert {of_split[clip.video_id] for clip in (*curated, *pool)} == {"val"}
    # menus are held out too, where everything counts
    assert 0 < num_sources(curated) < num_sources(pool)


@pytest.mark.slow
def test_the_study_trains_three_arms_names_no_video_and_says_that_sources_are_too_few(job: Job, tmp_path: Path) -> None:
    moved = Job(job.store, job.config, type(job.home)(tmp_path))
    study, finished = ablation(moved, steps=1, seeds=1)
    assert [each.run.arm for each in finished] == ["curated", "random", "pool"]
    report = study.report(finished)
    assert sum("too few to tell (1 seeds" in sentence for sentence in report.sentences) == 6
    videos = job.store.read("videos", ["video_id"])["video_id"].to_pylist()
    kept = [path.read_text() for path in (tmp_path / "studies").rglob("*.json")]
    assert len(kept) == 4  # the inputs, and a run of each arm
    assert not any(video in text for video in videos for text in kept)
    # the same again only reads
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*seed0*.json")}
    assert ablation(moved, steps=1, seeds=1)[1] == finished
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*seed0*.json")} == before


class Counted(CurationStudy):
    """A study of results that are given."""

    def counts(self) -> dict[str, int]:
        found = {"curated": 10, "random": 10, "pool": 30}
        return found | {"held-out sources, curated": 10, "held-out sources, pool": 12}


def counted(folder: Path, seeds: int) -> Counted:
    store = Store(folder)
    return Counted(Scope(folder, Job(store, Config(), home_of(store)), "toy", seeds))


def results(gain: Sequence[float], sources: int = 10) -> list[Finished]:
    """Return results in which the curated set is better than others by so much in each seed."""
    found = []
    for seed, better in enumerate(gain):
        for arm in ("curated", "random", "pool"):
            by = better if arm == "curated" else 0.0
            figures = {
                "cross_entropy": [1.0 + source + 0.1 * seed - by for source in range(sources)],
                **{name: [20.0 + source + seed + by for source in range(sources)] for name in ("psnr_t1", "psnr_t4")},
                "delta_t_psnr_permuted": [None] * sources,
            }
            found.append(Finished(Run(arm, seed, {}), {"curated": figures, "pool": figures, "cpu_s": 1.0}))
    return found


@pytest.mark.parametrize(
    ("gain", "says"),
    [
        ((0.30, 0.31, 0.29), "better"),
        ((-0.30, -0.31, -0.29), "worse"),
        ((0.30, -0.30, 0.01), "not told apart"),
        ((0.30, 0.31), "too few to tell (2 seeds, 10 held-out sources; 3 and 8 are asked for)"),
    ],
)
def test_the_direction_is_told_with_both_intervals(gain: tuple[float, ...], says: str, tmp_path: Path) -> None:
    study = counted(tmp_path, len(gain))
    clips, loss, frame, control, *_ = study.report(results(gain)).sentences
    assert clips.startswith("10 curated clips, 10 of a random subset, 30 in the pool")
    for sentence in (loss, frame):
        assert sentence.endswith(f": {says}.")
        assert sentence.count(" over ") == 2
    mean = sum(gain) / len(gain)
    assert f"cross-entropy, nat: curated less random is {-mean:+.3f} (" in loss
    assert f"next frame, dB: curated less random is {mean:+.2f} (" in frame
    # a figure that no source has is no direction
    assert "curated less random is not known (no interval over seeds" in control


def test_a_study_measures_four_frames_from_one_whatever_is_configured(tmp_path: Path) -> None:
    study = counted(tmp_path, 1)
    evaluation = dataclasses.replace(Config().evaluation, horizon=2, prompt_frames=4)
    config = dataclasses.replace(Config(), evaluation=evaluation)
    full = Counted(Scope(tmp_path, Job(Store(tmp_path), config, home_of(Store(tmp_path))), "full", 1))
    for each in (study, full):
        assert (each.config(0).evaluation.horizon, each.config(0).evaluation.prompt_frames) == (4, 1)


def test_runs_of_other_held_out_clips_or_training_settings_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(clip_id: str, training: TrainingConfig) -> tuple[str, str]:
        clip = HeldOutClip(clip_id, "v", 0, np.zeros((8, 2, 2, 3), np.uint8), None)
        monkeypatch.setattr(curation, "held_out_curated", lambda job, config: [clip])
        monkeypatch.setattr(curation, "held_out_pool", lambda store, config: [clip])
        monkeypatch.setattr(curation, "curated_pool", lambda store, config: CuratedPool([], [], "shards 1"))
        job = Job(Store(tmp_path), dataclasses.replace(Config(), training=training), home_of(Store(tmp_path)))
        study = Counted(Scope(tmp_path, job, "full", 1))
        return study.data(), name_of(study.runs()[0])

    usual = TrainingConfig()
    data, name = seen("v-1", usual)
    assert seen("v-1", usual) == (data, name)
    assert seen("v-2", usual)[0] != data
    for other in ({"dtype": "bf16"}, {"windows_per_clip": 7}, {"mixed_clips": 999}, {"shuffle_clips": 999}):
        assert seen("v-1", dataclasses.replace(usual, **other))[1] != name  # type: ignore[arg-type]


def test_too_few_sources_are_told_however_clear_the_difference(tmp_path: Path) -> None:
    study = counted(tmp_path, 3)
    for count in (1, 7):
        _, loss, *_ = study.report(results((0.30, 0.31, 0.29), sources=count)).sentences
        assert "too few to tell" in loss


def test_a_root_without_shards_is_told_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "root" / "tables").mkdir(parents=True)
    assert main(["study", "curation", "--root", str(tmp_path / "root"), "--out", str(tmp_path / "out")]) == 2
    assert "materialize `training_shards` first" in capsys.readouterr().err
