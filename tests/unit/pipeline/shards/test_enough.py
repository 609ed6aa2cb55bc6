"""Whether a split has a tar for every reader, and whether the advice gives it one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ShardConfig
from pipeline.shards.enough import too_few_shards
from pipeline.shards.write import write_shards
from tests.synthetic import CONFIG, finished_store, job_of


def test_as_many_tars_as_readers_are_enough() -> None:
    assert too_few_shards(split="train", shards=8, samples=80, samples_per_shard=10, ranks=2, workers=4) == ""
    assert too_few_shards(split="train", shards=1, samples=80, samples_per_shard=512, workers=0) == ""


def test_fewer_tars_than_readers_are_said_with_the_setting_and_following_it_gives_enough(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    before = write_shards(job_of(store)).train
    per_shard = CONFIG.shards.samples_per_shard
    said = too_few_shards(
        split="train", shards=before.shards, samples=before.samples, samples_per_shard=per_shard, workers=4
    )
    assert f"{before.shards} tar " in said
    assert "4 readers (1 rank x 4 workers)" in said
    [wanted] = re.findall(r"set shards\.samples_per_shard to (\d+)", said)
    config = replace(CONFIG, shards=ShardConfig(samples_per_shard=int(wanted)))
    after = write_shards(job_of(store, config)).train
    assert after.shards >= 4
    assert not too_few_shards(
        split="train", shards=after.shards, samples=after.samples, samples_per_shard=int(wanted), workers=4
    )


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(1, 16), st.integers(1, 600))
def test_the_advice_is_always_enough(samples: int, ranks: int, workers: int, per_shard: int) -> None:
    shards = -(-samples // per_shard)
    said = too_few_shards(
        split="train", shards=shards, samples=samples, samples_per_shard=per_shard, ranks=ranks, workers=workers
    )
    assert bool(said) == (shards < ranks * workers)
    if advised := re.findall(r"samples_per_shard to (\d+)", said):
        assert -(-samples // int(advised[0])) >= ranks * workers
    elif said:
        assert "fewer workers or ranks" in said
        assert samples < ranks * workers
