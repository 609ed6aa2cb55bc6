"""`lampworks takedown` and `lampworks why` as people call them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from assets.cli.main import main
from assets.report.page import write_report
from pipeline.inspect.status import status
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from tests.grep import digests, find_bytes
from tests.synthetic import CONFIG, finished_store

VIDEO, OTHER = "arcade-v004", "arcade-v005"


def needles(store: Store, video_id: str) -> list[bytes]:
    mine = pc.field("video_id") == video_id
    (video,) = store.read("videos", None, mine).to_pylist()
    clips = store.read("clips", None, mine).to_pylist()
    names = [video[name] for name in ("video_id", "url", "channel_id", "channel")]
    strips = [store.read_range(row["tar"], row["frames_offset"], row["frames_size"]) for row in clips]
    return [name.encode() for name in [*names, *(row["sha256"] for row in clips)]] + strips


def test_a_channel_goes_with_its_only_video_and_the_report_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = finished_store(tmp_path / "root")
    root = store.root
    write_report(store, CONFIG)
    wanted = needles(store, VIDEO)
    assert all(find_bytes(Path(root), [needle]) for needle in wanted[:1])
    before = digests(Path(root))
    assert main(["takedown", "channel-4", "--reason", "asked by channel-4", "--dry-run", "--root", root]) == 0
    planned = capsys.readouterr().out
    assert all(word in planned for word in ("clips/", VIDEO, "nothing is deleted"))
    assert digests(Path(root)) == before

    assert main(["takedown", "channel-4", "--reason", "asked by channel-4", "--root", root]) == 0
    told = capsys.readouterr().out
    assert find_bytes(Path(root), wanted) == []
    assert "reports/latest/index.html is made again" in told
    assert "video_tokenizer tok1 was trained on it" in told
    assert "no video_tokenizer" in told
    assert f"`lampworks run --root {shlex.quote(root)}`" in told
    assert not any(needle.decode() in told for needle in wanted[:4])
    assert status(store, CONFIG).violations == []

    # the answer to "am I in it?"
    for name in (VIDEO, "channel-4", "http://127.0.0.1/watch/v004"):
        assert main(["why", name, "--root", root]) == 1
        assert "was taken down on" in capsys.readouterr().out
    assert main(["why", "channel-5", "--root", root]) == 0
    assert f"{OTHER}: " in capsys.readouterr().out


def test_an_unknown_video_is_recorded_and_stays_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = finished_store(tmp_path / "root")
    url = "https://youtu.be/bbbbbbbbbbb?t=4"
    assert main(["takedown", url, "--reason", "asked", "--json", "--root", store.root]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["finished"] is True
    assert receipt["rows"] == receipt["blobs"] == {}
    assert find_bytes(Path(store.root), [b"bbbbbbbbbbb"]) == []
    assert main(["takedown", "youtube-bbbbbbbbbbb", "--reason", "again", "--root", store.root]) == 0
    assert "nothing is known of this video; the tombstone keeps it out" in capsys.readouterr().out
    assert len(store.read("takedowns")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([VIDEO], "--reason is missing"),
        (["--reason", "asked"], "name what is to be taken down"),
        ([VIDEO, "--channel", "channel-4", "--reason", "asked"], "once"),
        ([" ", "--reason", "asked"], "the name is empty"),
        (["https://www.youtube.com/@Fox", "--reason", "asked"], "does not hold the channel's id"),
    ],
)
def test_a_wrong_call_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = finished_store(tmp_path / "root")
    assert main(["takedown", *arguments, "--root", store.root]) == 2
    assert said in capsys.readouterr().err
    assert store.version("takedowns") == -1
