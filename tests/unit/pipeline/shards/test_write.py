"""The training set: what a tar holds, when it is written, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.clips.read import read_clip
from pipeline.clips.tar import TarWriter
from pipeline.config import Config, ShardConfig, SplitConfig
from pipeline.errors import UserError
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.why import why
from pipeline.job import Job
from pipeline.shards import plan, write
from pipeline.shards.read import current_shards, read_samples
from pipeline.shards.splits import SPLITS, group_of, split_of
from pipeline.shards.write import shards_are_current, write_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.snapshots import snapshot
from tests.synthetic import CONFIG, finished_store, job_of


@pytest.fixture
def done(tmp_path: Path) -> Store:
    """A store with every stage done, its training set written."""
    return finished_store(tmp_path / "root")


def decisions(store: Store) -> list[dict[str, object]]:
    return store.read("curated").to_pylist()


def decide_again(store: Store, change: dict[str, dict[str, object]]) -> None:
    """Change columns of rows of `curated`, by clip_id."""
    store.replace("curated", [row | change.get(str(row["clip_id"]), {}) for row in decisions(store)])


def make_copies(store: Store, *clip_ids: str) -> None:
    """Make clips one group of near-duplicates, the first of them its representative."""
    rows = store.read("duplicates").to_pylist()
    for row in rows:
        if row["clip_id"] in clip_ids:
            row.update(representative=clip_ids[0], group_size=len(clip_ids))
    store.replace("duplicates", rows)


def tars(store: Store) -> dict[str, bytes]:
    return {key.split("/", 2)[2]: store.read_blob(key) for key in store.list_blobs("shards")}


def test_every_kept_clip_is_a_sample_with_its_own_bytes_and_its_source(done: Store) -> None:
    kept = {str(row["clip_id"]): row for row in decisions(done) if row["decision"] == "keep"}
    clips = {row["clip_id"]: row for row in done.read("clips").to_pylist()}
    videos = {row["video_id"]: row for row in done.read("videos").to_pylist()}
    version = str(current_shards(done))
    seen = set()
    for split in ("train", "val"):
        for sample in read_samples(done, version, split):
            row = kept[sample.clip_id]
            assert row["split"] == split
            assert sample.read_mp4(done) == read_clip(done, clips[sample.clip_id])
            video = videos[row["video_id"]]
            assert (sample.origin["source"], sample.origin["title"]) == (video["url"], video["title"])
            assert sample.origin["probability"] == row["probability"]
            assert sample.origin["start_ms"] == clips[sample.clip_id]["start_ms"]
            assert sample.origin["cut_ms"] == clips[sample.clip_id]["cut_ms"]
            seen.add(sample.clip_id)
    assert seen == set(kept)


def test_webdataset_reads_the_same_samples(done: Store) -> None:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    for split in SPLITS:
        rows = done.read("shards", ["path"], pc.field("split") == split).sort_by("path").to_pylist()
        streams = ({"url": row["path"], "stream": io.BytesIO(done.read_blob(row["path"]))} for row in rows)
        theirs = list(group_by_keys(tar_file_expander(streams)))
        ours = list(read_samples(done, str(current_shards(done)), split))
        assert [sample["__key__"] for sample in theirs] == [sample.clip_id for sample in ours]
        assert [sample["mp4"] for sample in theirs] == [sample.read_mp4(done) for sample in ours]
        assert [json.loads(sample["json"]) for sample in theirs] == [sample.origin for sample in ours]


def test_rows_and_manifest_describe_the_tars(done: Store) -> None:
    rows = done.read("shards").sort_by("path").to_pylist()
    for row in rows:
        data = done.read_blob(row["path"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["bytes"], row["sha256"])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert len(tar.getnames()) == 2 * row["samples"]
        assert hashlib.sha256(done.read_blob(row["index"])).hexdigest() == row["index_sha256"]
    manifest = json.loads(done.read_blob(f"shards/{current_shards(done)}/manifest.json"))
    for name in ("path", "sha256", "index", "index_sha256"):
        assert [shard[name] for shard in manifest["shards"]] == [row[name] for row in rows]


def test_a_second_run_writes_nothing(done: Store) -> None:
    before = snapshot(done.root)
    report = write_shards(Job(done, CONFIG, home_of(done)))
    assert not report.written
    assert report.train.samples + report.val.samples == sum(row["decision"] == "keep" for row in decisions(done))
    assert snapshot(done.root) == before
    assert shards_are_current(done, CONFIG)


def test_the_same_rows_in_another_root_and_another_order_give_the_same_bytes(done: Store, tmp_path: Path) -> None:
    other = finished_store(tmp_path / "other")
    other.replace("curated", list(reversed(decisions(other))))
    other.replace("shards", [])
    for key in other.list_blobs("shards"):
        other.delete(key)
    assert write_shards(Job(other, CONFIG, home_of(other))).written
    assert tars(other) == tars(done)


def test_a_killed_run_is_taken_up_with_the_tars_it_had_finished(done: Store) -> None:
    before = tars(done)
    rows = done.read("shards").sort_by("path").to_pylist()
    done.replace("shards", [])
    done.delete(f"shards/{rows[0]['version']}/manifest.json")
    done.delete(rows[0]["path"])
    untouched = Path(done.url(rows[-1]["path"])).stat().st_mtime_ns
    write_shards(Job(done, CONFIG, home_of(done)))
    assert tars(done) == before
    assert done.read("shards").sort_by("path").to_pylist() == rows
    assert Path(done.url(rows[-1]["path"])).stat().st_mtime_ns == untouched


def test_a_decision_made_again_with_the_same_outcome_is_the_same_set(done: Store) -> None:
    version = current_shards(done)
    decide_again(done, {})
    assert shards_are_current(done, CONFIG)
    assert not write_shards(Job(done, CONFIG, home_of(done))).written
    assert current_shards(done) == version


@pytest.mark.parametrize("rows", [1, 3, 1 << 18])
def test_the_version_is_computed_in_parts_as_from_the_whole_plan(
    done: Store, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(plan, "_VERSION_ROWS", rows)
    whole = plan.plan_shards(done, CONFIG)
    assert len(whole.clips) > 3
    assert plan.planned_version(done, CONFIG) == whole.version == current_shards(done)
    changed = [row | {"title": f"{row['title']}!"} for row in done.read("videos").to_pylist()]
    done.replace("videos", changed)
    assert plan.planned_version(done, CONFIG) == plan.plan_shards(done, CONFIG).version != whole.version
    assert not shards_are_current(done, CONFIG)


def test_what_a_set_holds_is_told_in_parts_as_by_the_whole_plan(done: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan.plan_shards(done, CONFIG)
    assert done.inputs("shards")["contents"] == whole.contents
    assert whole.contents["clips"] == len(whole.clips)
    for rows in (1, 1 << 17):
        monkeypatch.setattr(plan, "_PART_ROWS", rows)
        assert plan.planned_contents(done, CONFIG) == whole.contents
    changed = [row | {"title": f"{row['title']}!"} for row in done.read("videos").to_pylist()]
    done.replace("videos", changed)
    assert plan.planned_contents(done, CONFIG) == plan.plan_shards(done, CONFIG).contents != whole.contents


def whole_plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the version of every plan that is computed in its order."""
    seen, computed = list[str](), plan.planned_version

    def noted(store: Store, config: Config) -> str:
        seen.append(computed(store, config))
        return seen[-1]

    monkeypatch.setattr(write, "planned_version", noted)
    return seen


def test_a_set_whose_inputs_changed_is_current_where_it_holds_the_same(
    done: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = whole_plans(monkeypatch)
    decide_again(done, {})
    assert shards_are_current(done, CONFIG)
    kept = next(str(row["clip_id"]) for row in decisions(done) if row["decision"] == "keep")
    decide_again(done, {kept: {"probability": 0.123}})
    assert not shards_are_current(done, CONFIG)
    assert not seen, "the clips of the set were put in order for it"


def test_copies_that_came_to_lie_in_two_splits_make_a_set_outdated(
    done: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_PART_ROWS", 1)
    assert shards_are_current(done, CONFIG)
    kept = [row for row in decisions(done) if row["decision"] == "keep"]
    first, second = (next(str(row["clip_id"]) for row in kept if row["split"] == name) for name in ("train", "val"))
    make_copies(done, first, second)
    assert not shards_are_current(done, CONFIG)


def test_a_set_of_an_earlier_version_is_current_by_its_whole_plan(done: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, inputs = whole_plans(monkeypatch), done.inputs("shards")
    del inputs["contents"]
    done.replace("shards", done.read("shards").to_pylist(), inputs=inputs)
    assert shards_are_current(done, CONFIG)
    decide_again(done, {})
    assert shards_are_current(done, CONFIG)
    assert seen == [current_shards(done)]


def test_rows_that_name_no_batch_are_of_the_set_all_the_same(done: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = whole_plans(monkeypatch)
    first = str(decisions(done)[0]["clip_id"])
    decide_again(done, {str(row["clip_id"]): {"batch": None} for row in decisions(done)})
    assert plan.planned_contents(done, CONFIG) is None
    assert shards_are_current(done, CONFIG)
    decide_again(done, {first: {"decision": "drop" if decisions(done)[0]["decision"] == "keep" else "keep"}})
    assert not shards_are_current(done, CONFIG)
    assert seen[0] == current_shards(done)


def test_a_video_of_another_batch_than_its_clips_is_found_all_the_same(done: Store) -> None:
    done.replace("videos", [row | {"batch": "elsewhere"} for row in done.read("videos").to_pylist()])
    assert plan.planned_contents(done, CONFIG) is None
    assert shards_are_current(done, CONFIG)


def test_another_decision_is_another_version_and_the_only_one(done: Store) -> None:
    version = current_shards(done)
    kept = [row for row in decisions(done) if row["decision"] == "keep" and row["split"] == "train"]
    decide_again(done, {str(kept[0]["clip_id"]): {"decision": "drop"}})
    assert not shards_are_current(done, CONFIG)
    report = write_shards(Job(done, CONFIG, home_of(done)))
    assert report.version != version
    assert report.train.samples == len(kept) - 1


def test_a_shard_mixes_sources_and_the_seed_orders_it(done: Store) -> None:
    def order() -> list[str]:
        return [sample.clip_id for sample in read_samples(done, str(current_shards(done)), "train")]

    first = order()
    assert first != sorted(first)
    write_shards(Job(done, replace(CONFIG, shards=ShardConfig(samples_per_shard=32, seed=1)), home_of(done)))
    assert order() != first
    assert sorted(order()) == sorted(first)


def test_small_shards_hold_what_was_asked(done: Store) -> None:
    report = write_shards(Job(done, replace(CONFIG, shards=ShardConfig(samples_per_shard=2)), home_of(done)))
    samples = done.read("shards", ["split", "samples"]).to_pylist()
    assert max(row["samples"] for row in samples) == 2
    assert report.train.shards == sum(row["split"] == "train" for row in samples)


def test_a_takedown_leaves_the_set_at_the_next_write(done: Store) -> None:
    kept = [row for row in decisions(done) if row["decision"] == "keep" and row["split"] == "train"]
    video = str(kept[0]["video_id"])
    request_takedown(done, "video", video, "asked by the owner")
    assert not shards_are_current(done, CONFIG)
    write_shards(Job(done, CONFIG, home_of(done)))
    version = str(current_shards(done))
    samples = [*read_samples(done, version, "train"), *read_samples(done, version, "val")]
    assert samples
    assert video not in {sample.origin["video_id"] for sample in samples}


def refusal(store: Store) -> str:
    before = snapshot(store.root)
    with pytest.raises(UserError) as caught:
        write_shards(Job(store, CONFIG, home_of(store)))
    assert snapshot(store.root) == before
    assert not shards_are_current(store, CONFIG)
    return str(caught.value)


def test_nothing_decided_is_said(store: Store) -> None:
    assert "nothing is decided" in refusal(store)


def test_no_kept_clip_is_said_with_what_to_do(done: Store) -> None:
    decide_again(done, {str(row["clip_id"]): {"decision": "drop"} for row in decisions(done)})
    assert "set decision.keep_rate" in refusal(done)


def test_an_empty_split_is_said_with_what_to_do(done: Store) -> None:
    decide_again(done, {str(row["clip_id"]): {"split": "train"} for row in decisions(done)})
    assert "raise split.val_share" in refusal(done)


def one_source_to(done: Store, split: str) -> str:
    """Move the kept clips of one training source to another split; return the source's video."""
    video = next(
        str(row["video_id"]) for row in decisions(done) if row["decision"] == "keep" and row["split"] == "train"
    )
    decide_again(done, {str(row["clip_id"]): {"split": split} for row in decisions(done) if row["video_id"] == video})
    return video


def test_clips_of_test_sources_are_a_split_of_their_own_that_no_training_and_no_evaluation_reads(done: Store) -> None:
    video = one_source_to(done, "test")
    kept = sum(row["decision"] == "keep" for row in decisions(done))
    report = write_shards(job_of(done))
    assert report.train.samples + report.val.samples + report.test.samples == kept
    inside = [sample.clip_id for sample in read_samples(done, report.version, "test")]
    assert report.test.samples == len(inside) > 0
    assert all(clip_id.startswith(video) for clip_id in inside)
    found = status(done, CONFIG)
    assert (found.shards.test.samples, found.shards.announced["test"]) == (len(inside), len(inside))
    assert f"test {len(inside)} clips in 1 tar" in format_status(found)
    assert not [sentence for sentence in found.violations if "samples" in sentence]
    seen_by = {row["kind"] for row in why(done, CONFIG, inside[0])["models"]}
    assert not seen_by & {"video_tokenizer", "world_model", "world_evaluation"}


def test_an_empty_test_split_is_said_in_one_sentence_and_what_it_says_fills_it(done: Store) -> None:
    asked = replace(CONFIG, split=replace(CONFIG.split, test_share=0.01), shards=ShardConfig(samples_per_shard=8))
    said: list[str] = []
    write_shards(Job(done, asked, home_of(done), said.append))
    [sentence] = [text for text in said if "test split" in text]
    assert "raise split.test_share" in sentence
    larger = replace(asked, split=replace(asked.split, test_share=0.3))
    videos = {row["video_id"]: row for row in done.read("videos").to_pylist()}
    change = {str(row["clip_id"]): {"split": split_of(group_of(videos[row["video_id"]]), larger.split)}
              for row in decisions(done)}  # fmt: skip
    decide_again(done, change)
    assert write_shards(Job(done, larger, home_of(done))).test.samples > 0
    said.clear()
    write_shards(Job(done, replace(CONFIG, shards=ShardConfig(samples_per_shard=9)), home_of(done), said.append))
    assert not [text for text in said if "test split" in text]


def test_a_source_in_train_and_test_is_refused_by_name(done: Store) -> None:
    video = next(str(row["video_id"]) for row in decisions(done) if row["decision"] == "keep")
    clips = [str(row["clip_id"]) for row in decisions(done) if row["video_id"] == video]
    decide_again(done, {clip: {"decision": "keep", "split": "test" if k else "train"} for k, clip in enumerate(clips)})
    assert "source would lie in two of" in refusal(done)


def test_copies_in_train_and_test_are_refused_by_name(done: Store) -> None:
    one_source_to(done, "test")
    kept = [row for row in decisions(done) if row["decision"] == "keep"]
    first, second = (next(str(row["clip_id"]) for row in kept if row["split"] == name) for name in ("train", "test"))
    make_copies(done, first, second)
    assert first in refusal(done)


def test_a_source_in_two_splits_is_refused_by_name(done: Store) -> None:
    video = next(str(row["video_id"]) for row in decisions(done) if row["decision"] == "keep")
    clips = [row for row in decisions(done) if row["video_id"] == video]
    change: dict[str, dict[str, object]] = {str(row["clip_id"]): {"decision": "keep"} for row in clips}
    change[str(clips[0]["clip_id"])]["split"] = "val"
    change[str(clips[1]["clip_id"])]["split"] = "train"
    decide_again(done, change)
    assert "source would lie in two of train, val, test" in refusal(done)


def test_copies_in_two_splits_are_refused_by_name(done: Store) -> None:
    kept = [row for row in decisions(done) if row["decision"] == "keep"]
    first = next(str(row["clip_id"]) for row in kept if row["split"] == "train")
    second = next(str(row["clip_id"]) for row in kept if row["split"] == "val")
    make_copies(done, first, second)
    assert first in refusal(done)


def test_bytes_that_changed_since_they_were_cut_are_refused(done: Store) -> None:
    kept = next(str(row["clip_id"]) for row in decisions(done) if row["decision"] == "keep")
    [clip] = done.read("clips", where=pc.field("clip_id") == kept).to_pylist()
    data = bytearray(done.read_blob(clip["tar"]))
    data[clip["offset"] + 5] ^= 0xFF
    done.write_blob(clip["tar"], bytes(data))
    config = replace(CONFIG, shards=ShardConfig(seed=3))
    before = snapshot(done.root)
    with pytest.raises(UserError, match="not those that were cut"):
        write_shards(Job(done, config, home_of(done)))
    # neither a tar with the bad clip in it nor its unfinished file stays, and the published set is the one of before
    after = snapshot(done.root)
    assert before.items() <= after.items()
    added = after.keys() - before.keys()
    assert all(name.endswith((".tar", ".index.parquet")) for name in added), "an unfinished file stays"


def test_clips_cut_under_other_settings_need_a_new_decision(done: Store) -> None:
    done.replace("clippings", [])
    assert "decide again" in refusal(done)


def test_a_tar_with_a_pickle_is_refused_not_unpacked(done: Store) -> None:
    row = done.read("shards").to_pylist()[0]
    buffer = io.BytesIO()
    tar = TarWriter(buffer)
    tar.add("a.mp4", b"x")
    tar.add("a.pyd", b"cos\nsystem\n(S'exit 3'\ntR.")
    tar.close()
    done.write_blob(row["path"], buffer.getvalue())
    done.delete(row["index"])
    with pytest.raises(UserError, match="pyd"):
        list(read_samples(done, row["version"], row["split"]))


def test_the_split_of_the_decision_is_what_counts(done: Store) -> None:
    other = replace(CONFIG, split=SplitConfig(val_share=0.9))
    assert shards_are_current(done, other)


def test_the_set_is_read_and_written_on_s3(done: Store, s3_options: dict[str, str]) -> None:
    remote = Store("s3://lampworks-test/shards", s3_options)
    for name in ("videos", "downloads", "clips", "clippings", "duplicates", "curated"):
        rows: pa.Table = done.read(name)
        remote.append(name, rows)
    for key in done.list_blobs("clips"):
        remote.write_blob(key, done.read_blob(key))
    write_shards(Job(remote, CONFIG, home_of(remote)))
    assert tars(remote) == tars(done)
    version = str(current_shards(remote))
    there, here = ([*read_samples(one, version, "val")] for one in (remote, done))
    assert there == here
    assert there[0].read_mp4(remote) == here[0].read_mp4(done)
    assert shards_are_current(remote, CONFIG)
