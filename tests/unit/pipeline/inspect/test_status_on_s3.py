"""`status` on S3 opens each table once, and says the same as in a folder."""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.bench.made_up_store import fill_store, publish_set
from pipeline.bench.s3_counts import S3Proxy
from pipeline.config import Config, SourceConfig
from pipeline.inspect.status import status
from pipeline.shards.plan import Plan
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

pytestmark = pytest.mark.timeout(120)
CONFIG = Config(source=SourceConfig(spec="youtube"))
MOST = 120


def test_status_takes_a_bounded_number_of_requests(
    s3_proxy: S3Proxy, s3_options: dict[str, str], tmp_path: Path
) -> None:
    s3_proxy.faults()
    remote = Store(f"s3://lampworks-test/{uuid.uuid4().hex[:8]}", {**s3_options, "endpoint_url": s3_proxy.url})
    here = Store(tmp_path)
    for store in (remote, here):
        fill_store(store, CONFIG, 40, 80)
        publish_set(store, Plan(pa.table({}), "v1", "", "", {}), CONFIG)
    s3_proxy.faults()
    found = status(remote, CONFIG)
    seen = s3_proxy.seen()
    listed = Counter(one["key"].split("/tables/")[-1].split("/")[0] for one in seen if one["operation"] == "LIST")
    assert set(listed) <= set(SCHEMAS)
    assert set(listed.values()) == {1}, "each table is opened once"
    assert len(seen) <= MOST
    assert found.clips.total == 80
    assert dataclasses.replace(found, root="") == dataclasses.replace(status(here, CONFIG), root="")
    # the next look is at what is there then
    remote.append("videos", [{"video_id": "new", "verdict": "kept", "batch": "b", "source": "youtube"}])
    assert status(remote, CONFIG).videos.kept == found.videos.kept + 1
