"""Token shards: every window's tokens as the tokenizer gives them; resumed, bounded, and gone after a takedown."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.registry import load_tokenizer
from models.tokens import encode
from models.tokens.check import check_tokens
from models.tokens.encode import tokens_are_current, write_tokens
from models.tokens.windows import token_windows
from pipeline.clips.stored import decode_clip
from pipeline.config.tokens import TokensConfig
from pipeline.errors import PermanentError, UserError
from pipeline.inspect.gc import collect_garbage
from pipeline.job import Job
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from pipeline.tokens.read import read_token_clips
from pipeline.tokens.removal import remove_videos, token_files_of, withdraw_tokens
from tests.shards import add_shards
from tests.trainings import CONFIG, add_training_shards, clip_id, mp4
from tests.unit.models.tokens.conftest import job


def directly(store: Store, number: int, starts: list[int]) -> list[np.ndarray]:
    """Return the tokens that the tokenizer gives for windows of a clip."""
    [row] = store.read("models", ["model_id", "kind"], pc.field("kind") == "video_tokenizer").to_pylist()
    tokenizer = load_tokenizer(store, row["model_id"]).eval()
    frames = decode_clip(mp4(number))
    with torch.no_grad():
        return [tokenizer.encode(torch.from_numpy(frames[None, start : start + 4]))[0].numpy() for start in starts]


def blobs(store: Store) -> dict[str, bytes]:
    return {key: store.read_blob(key) for key in store.list_blobs("tokens")}


@pytest.mark.parametrize("packing", ["packed", "uint16"])
def test_the_tokens_that_are_read_are_those_of_encoding_each_window(store: Store, packing: str) -> None:
    report = write_tokens(job(store, packing=packing, stride=3))
    assert (report.clips, report.windows, report.left_out) == (6, 18, 0)
    found = {clip.clip_id: clip for split in ("train", "val") for clip in read_token_clips(store, split)}
    assert sorted(found) == sorted(clip_id(number) for number in range(6))
    for number in range(6):
        clip, expected = found[clip_id(number)], directly(store, number, [0, 3, 6])
        assert clip.starts == (0, 3, 6)
        np.testing.assert_array_equal(clip.read(store), np.stack(expected))
        for window, tokens in enumerate(expected):
            np.testing.assert_array_equal(clip.read_window(store, window), tokens)
        # 5 bits for 32 codes: 4 frames of 2 x 4 tokens
        assert clip.size == 3 * (20 if packing == "packed" else 64)
    windows = list(token_windows(store, "val"))
    assert [(window.clip_id, window.start) for window in windows] == [
        (clip_id(number), start) for number in (4, 5) for start in (0, 3, 6)
    ]
    assert windows[0].tokens_TP.dtype == torch.int64
    np.testing.assert_array_equal(windows[-1].tokens_TP.numpy(), directly(store, 5, [6])[0])


def test_a_plain_reader_of_tars_gets_npy_arrays_and_json(store: Store) -> None:
    write_tokens(job(store, packing="uint16"))
    [row] = store.read("tokens", where=pc.field("split") == "train").to_pylist()
    with tarfile.open(fileobj=io.BytesIO(store.read_blob(row["path"]))) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    tokens = np.load(io.BytesIO(members[f"{clip_id(1)}.npy"]), allow_pickle=False)
    np.testing.assert_array_equal(tokens, np.stack(directly(store, 1, [0, 4, 8])))
    facts = json.loads(members[f"{clip_id(1)}.json"])
    assert (facts["starts"], facts["shape"], facts["tokenizer"]) == ([0, 4, 8], [3, 4, 2, 4], row["tokenizer"])


def test_a_set_that_is_there_is_current_until_shards_settings_or_tokenizer_change(store: Store) -> None:
    assert not tokens_are_current(store, CONFIG)
    first = write_tokens(job(store))
    before = blobs(store)
    assert tokens_are_current(store, CONFIG)
    again = write_tokens(job(store))
    assert (again.written, again.version, blobs(store)) == (0, first.version, before)
    other = dataclasses.replace(CONFIG, tokens=TokensConfig(stride=2))
    assert not tokens_are_current(store, other)
    assert write_tokens(job(store, other)).version != first.version
    assert not set(before) & {row["path"] for row in store.read("tokens").to_pylist()}
    assert set(before) <= set(collect_garbage(store, dry_run=True))


def test_a_run_that_was_killed_keeps_its_finished_files_and_ends_with_the_same_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Store(shutil.copytree(store.root, tmp_path / "whole"))
    write_tokens(job(whole))
    write, calls = encode.write_token_file, []

    def killed_at_the_second(*arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(encode, "write_token_file", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write_tokens(job(store))
    assert not len(store.read("tokens"))
    [finished] = [key for key in blobs(store) if key.endswith(".tar")]
    changed_at = Path(store.url(finished)).stat().st_mtime_ns
    assert write_tokens(job(store)).written == 1
    assert Path(store.url(finished)).stat().st_mtime_ns == changed_at
    assert blobs(store) == blobs(whole)
    assert store.read("tokens").sort_by("path") == whole.read("tokens").sort_by("path")


def test_a_finished_file_that_was_damaged_since_is_written_again(store: Store) -> None:
    write_tokens(job(store))
    before = blobs(store)
    key = next(key for key in before if key.endswith(".tar"))
    store.write_blob(key, before[key][:-1] + b"x")
    store.replace("tokens", [])
    assert write_tokens(job(store)).written == 1
    assert blobs(store) == before


def test_one_clip_is_in_memory_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    decode, make = encode.decode_stored_clip, encode._encoded

    def decoded(data: bytes) -> np.ndarray:
        order.append("decode")
        return decode(data)

    def encoded(*arguments: Any) -> Iterator[Any]:
        for clip in make(*arguments):
            yield clip
            order.append("written")

    monkeypatch.setattr(encode, "decode_stored_clip", decoded)
    monkeypatch.setattr(encode, "_encoded", encoded)
    write_tokens(job(store))
    assert order == ["decode", "written"] * 6


# -- clips that cannot be encoded ---------------------------------------------------------------------------------


def damaged_store(store: Store, **clips: bytes) -> Store:
    """Replace mp4s of training clips; the tokenizer stays that of the shards before."""
    numbers = {clip_id(number): clips.get(f"clip{number}", mp4(number)) for number in range(4)}
    store.replace("shards", [])
    add_shards(store, {"train": numbers, "val": {clip_id(n): mp4(n) for n in (4, 5)}})
    return store


def test_a_clip_that_cannot_be_decoded_is_left_out_with_its_reason_and_the_others_are_encoded(store: Store) -> None:
    damaged_store(store, clip2=b"no video")
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, max_bad_share=0.2))
    said: list[str] = []
    report = write_tokens(Job(store, config, home_of(store), said.append))
    assert (report.clips, report.left_out) == (5, 1)
    assert any(clip_id(2) in line and "cannot be decoded" in line for line in said)
    assert clip_id(2) not in {clip.clip_id for clip in read_token_clips(store, "train")}
    found = check_tokens(Job(store, config, home_of(store)), 8)
    assert (found.missing, found.differing, found.encoded_again) == ([], [], 2)


def test_too_many_clips_that_cannot_be_encoded_are_refused_with_the_setting_that_allows_them(store: Store) -> None:
    damaged_store(store, clip2=b"no video", clip3=b"neither")
    with pytest.raises(UserError, match=r"raise training\.max_bad_share"):
        write_tokens(job(store))
    assert not len(store.read("tokens"))
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, max_bad_share=0.5))
    assert write_tokens(job(store, config)).left_out == 2


@pytest.mark.parametrize(
    ("tokens", "told"), [({"window": 5}, r"tokens\.window = 5: the tokenizer sees 4"), ({"window": 4}, "")]
)
def test_a_window_longer_than_the_tokenizers_is_refused(store: Store, tokens: dict[str, int], told: str) -> None:
    if told:
        with pytest.raises(UserError, match=told):
            write_tokens(job(store, **tokens))
    else:
        assert write_tokens(job(store, **tokens)).windows == 18


def test_without_shards_or_tokenizer_a_sentence_says_what_to_do_first(tmp_path: Path) -> None:
    empty = Store(tmp_path / "root")
    with pytest.raises(UserError, match="training_shards"):
        write_tokens(job(empty))
    add_training_shards(empty)
    with pytest.raises(UserError, match="--select video_tokenizer"):
        write_tokens(job(empty))


def test_damaged_tokens_are_an_error_that_names_clip_and_file(store: Store) -> None:
    write_tokens(job(store))
    clip = next(read_token_clips(store, "train"))
    data = bytearray(store.read_blob(clip.path))
    data[clip.offset] ^= 1
    store.write_blob(clip.path, bytes(data))
    with pytest.raises(PermanentError, match=clip.clip_id):
        clip.read(store)
    store.write_blob(clip.path, bytes(data[: clip.offset]))
    with pytest.raises(PermanentError, match="are not in"):
        clip.read_window(store, 0)


# -- takedowns ----------------------------------------------------------------------------------------------------


def test_a_takedown_writes_the_files_of_a_video_again_without_it_and_leaves_the_others(store: Store) -> None:
    write_tokens(job(store))
    before = blobs(store)
    rows = {row["split"]: row for row in store.read("tokens").to_pylist()}
    kept = {clip.clip_id: clip.read(store).tolist() for clip in read_token_clips(store, "train")}
    assert [row["path"] for row in token_files_of(store, {"site-v2"})] == [rows["train"]["path"]]
    removed = remove_videos(store, {"site-v2"})
    assert removed.clips == 1
    assert removed.deleted == (rows["train"]["path"], rows["train"]["index"])
    after = blobs(store)
    assert not set(removed.deleted) & set(after)
    assert {key: after[key] for key in before if "/val/" in key} == {k: v for k, v in before.items() if "/val/" in k}
    assert not [key for key, data in after.items() if b"site-v2" in data]
    del kept[clip_id(2)]
    assert {clip.clip_id: clip.read(store).tolist() for clip in read_token_clips(store, "train")} == kept
    assert remove_videos(store, {"site-v2"}).clips == 0
    assert collect_garbage(store, dry_run=True) == []


def test_what_is_written_again_is_what_encoding_without_the_video_gives(store: Store, tmp_path: Path) -> None:
    other = Store(shutil.copytree(store.root, tmp_path / "other"))
    write_tokens(job(store))
    for one in (store, other):
        assert request_takedown(one, "video", "site-v2", "asked by the owner")
    assert withdraw_tokens(store).clips == 1
    assert write_tokens(job(other)).clips == 5
    assert blobs(store) == blobs(other)
    assert tokens_are_current(store, CONFIG)


def test_tokens_of_shards_without_the_video_are_those_that_are_left_and_count_as_current_again(store: Store) -> None:
    write_tokens(job(store))
    remove_videos(store, {"site-v2"})
    before = blobs(store)
    store.replace("shards", [{**row, "version": "v2"} for row in store.read("shards").to_pylist()])
    request_takedown(store, "video", "site-v2", "asked by the owner")
    assert not tokens_are_current(store, CONFIG)
    assert write_tokens(job(store)).written == 0
    assert blobs(store) == before
    assert tokens_are_current(store, CONFIG)
    assert set(store.read("tokens")["shards_version"].to_pylist()) == {"v2"}


def test_a_file_of_taken_down_videos_alone_is_gone_with_its_row(store: Store) -> None:
    write_tokens(job(store))
    removed = remove_videos(store, {"site-v4", "site-v5"})
    assert (removed.clips, removed.written) == (2, ())
    assert [row["split"] for row in store.read("tokens").to_pylist()] == ["train"]
    assert not store.list_blobs(f"tokens/{store.read('tokens')['version'][0]}/val")


def test_withdrawing_reads_no_index_unless_something_was_taken_down_since(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(job(store))
    monkeypatch.setattr(Store, "read_blob", lambda self, key: pytest.fail(f"{key} was read"))
    assert withdraw_tokens(store).clips == 0
    monkeypatch.undo()
    request_takedown(store, "video", "site-v9", "of no token")
    assert withdraw_tokens(store).clips == 0
    version = store.version("tokens")
    monkeypatch.setattr(Store, "read_blob", lambda self, key: pytest.fail(f"{key} was read"))
    assert withdraw_tokens(store).clips == 0
    assert store.version("tokens") == version


def test_a_root_without_tokens_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    request_takedown(store, "video", "site-v9", "of no token")
    assert withdraw_tokens(store).deleted == ()
    assert remove_videos(store, {"site-v9"}).clips == 0
    assert not Path(store.url("tables/tokens")).exists()


def test_tokens_are_made_and_removed_on_s3_as_in_a_folder(store: Store, s3_options: dict[str, str]) -> None:
    remote = Store("s3://lampworks-test/tokens", s3_options)
    for key in [*store.list_blobs("shards"), *store.list_blobs("models")]:
        if "/checkpoints/" not in key:
            remote.write_blob(key, store.read_blob(key))
    for table in ("shards", "models"):
        remote.append(table, store.read(table))
    for one in (store, remote):
        write_tokens(job(one))
    assert blobs(remote) == blobs(store)
    assert next(read_token_clips(remote, "val")).read(remote).shape == (3, 4, 8)
    for one in (store, remote):
        assert remove_videos(one, {"site-v1"}).clips == 1
    assert blobs(remote) == blobs(store)
