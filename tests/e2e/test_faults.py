"""The fault matrix: what becomes of a video under every fault that a network, a site or a disk was seen to have.

One list of URLs with a case a line goes through the real search and the real download, against sites that misbehave
behind a real proxy. What each case must leave is stated here and in docs/faults.md, which is held to it.

One file, because its list of cases is the table of docs/faults.md.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.config import Config, DownloadConfig, EngineConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.circuit_breaker import breakers
from pipeline.download.ledger import State, download_states
from pipeline.download.report import DownloadReport
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import SearchReport, search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.engines import use_inline_engine
from tests.faultsite import FaultSite, collect_command, collected, feed, hls, player_page, watch_page

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
HTML = "text/html"


@dataclass(frozen=True)
class Film:
    """A real video in the forms that sites serve."""

    seconds: float
    mp4: bytes
    """With its index at the end, as recorders leave it."""
    streamable: bytes
    """With its index at the start, as sites prefer it."""
    hls: dict[str, bytes]


@dataclass(frozen=True)
class Case:
    """One fault, and what it must leave."""

    name: str
    publish: Callable[[FaultSite, str, Film], str]
    """Makes the case on a host of its own and returns its URL."""
    state: str
    error_class: str | None = None
    attempts: int = 1
    status: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    """Download settings that end the case; the others run without short limits, so that no load looks like a fault."""

    @property
    def line(self) -> str:
        """The case as a line of the table in docs/faults.md."""
        raw = "whole" if self.state == "ok" else "none"
        cells = (self.name, self.state, self.error_class, str(self.attempts), self.status, raw)
        return "| " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |"


def page(
    status: int, retry_after: str | None = None, spoilt: int | None = None
) -> Callable[[FaultSite, str, Film], str]:
    """The page itself answers with a status."""

    def publish(site: FaultSite, host: str, film: Film) -> str:
        url = site.add(f"http://{host}/film.mp4", film.streamable)
        body, headers = player_page("A film", url), {"Retry-After": retry_after} if retry_after else {}
        return site.add(f"http://{host}/watch-{host}", body, HTML, status=status, headers=headers, spoilt=spoilt)

    return publish


def media(seconds: float | None = None, **faults: Any) -> Callable[[FaultSite, str, Film], str]:
    """A good page whose media file is spoilt; one that claims a duration has it read by search engines."""

    def publish(site: FaultSite, host: str, film: Film) -> str:
        given = {name: value(film) if callable(value) else value for name, value in faults.items()}
        body = given.pop("body", film.streamable)
        url = site.add(f"http://{host}/film.mp4", body, **given)
        described = player_page("A film", url) if seconds is None else watch_page("A film", url, seconds=seconds)
        return site.add(f"http://{host}/watch-{host}", described, HTML)

    return publish


def direct(scheme: str = "http", **faults: Any) -> Callable[[FaultSite, str, Film], str]:
    """A media file as the line itself."""

    def publish(site: FaultSite, host: str, film: Film) -> str:
        return site.add(f"{scheme}://{host}/film.mp4", film.mp4, **faults)

    return publish


def stream(**faults: Any) -> Callable[[FaultSite, str, Film], str]:
    """An HLS stream, of which one segment may be spoilt."""

    def publish(site: FaultSite, host: str, film: Film) -> str:
        for name, body in film.hls.items():
            kind = "application/vnd.apple.mpegurl" if name.endswith("m3u8") else "video/mp2t"
            site.add(f"http://{host}/{name}", body, kind, **(faults if name == "variant2.ts" else {}))
        return f"http://{host}/master.m3u8"

    return publish


def listed(site: FaultSite, host: str, film: Film) -> str:
    """A feed of one item."""
    item = site.add(f"http://{host}/film.mp4", film.mp4)
    return site.add(f"http://{host}/feed.xml", feed({"A film": item}), "application/rss+xml")


def redirect(site: FaultSite, host: str, film: Film) -> str:
    target = site.add(f"http://{host}/moved.mp4", film.streamable)
    return site.add(f"http://{host}/film.mp4", status=301, headers={"Location": target})


def redirect_loop(site: FaultSite, host: str, film: Film) -> str:
    return site.add(f"http://{host}/watch", status=302, kind=HTML, headers={"Location": f"http://{host}/watch"})


def inner_address(site: FaultSite, host: str, film: Film) -> str:
    """A line that names a machine of the network that this one is in."""
    return site.add("http://10.9.8.7/film.mp4", film.streamable)


def redirect_inside(site: FaultSite, host: str, film: Film) -> str:
    return site.add(f"http://{host}/film.mp4", status=301, headers={"Location": "http://10.9.8.7/film.mp4"})


def other_scheme(site: FaultSite, host: str, film: Film) -> str:
    return site.add(f"http://{host}/watch-{host}", watch_page("A film", f"ftp://{host}/film.mp4"), HTML)


def no_such_name(site: FaultSite, host: str, film: Film) -> str:
    return f"http://{host}.invalid/film.mp4"


def no_such_name_by_tls(site: FaultSite, host: str, film: Film) -> str:
    return f"https://{host}.invalid/film.mp4"


def no_handshake(site: FaultSite, host: str, film: Film) -> str:
    site.no_handshake.add(host)
    return f"https://{host}/film.mp4"


def half(film: Film) -> int:
    return len(film.streamable) // 2


def sixth(film: Film) -> int:
    return len(film.streamable) // 6


LATER = {"Retry-After": "3600"}
SILENCE, DRIP = {"socket_timeout_s": 0.5}, {"deadline_s": 2.0}
CASES = (
    # how videos come when nothing is wrong
    Case("a media file", direct(), "ok"),
    Case("a media file by TLS", direct("https"), "ok"),
    Case("a page with an HTML5 player", media(), "ok"),
    Case("a page with JSON-LD", media(4.0), "ok"),
    Case("an item of an RSS feed", listed, "ok"),
    Case("an HLS stream", stream(), "ok"),
    Case("no Content-Length, whole body", media(length=False), "ok"),
    Case("no Range, whole body", media(ranges=False), "ok"),
    Case("a chunked body", media(chunked=True), "ok"),
    Case("a redirect to the file", redirect, "ok"),
    # statuses of the page
    Case("403 at the page", page(403), "pending", "transient", status=403),
    Case("404 at the page", page(404), "failed", "permanent", status=404),
    Case("410 at the page", page(410), "failed", "permanent", status=410),
    # the search is refused, so the site is paused before any download
    Case("429 at the page", page(429, "3600"), "pending", attempts=0),
    Case("451 at the page", page(451), "failed", "geo", status=451),
    Case("500 at the page", page(500), "pending", "transient", status=500),
    Case("503 at the page", page(503), "pending", "transient", status=503),
    # the search is refused first
    Case("503 with Retry-After: 1 at the page, then well", page(503, "1", spoilt=2), "ok", attempts=2),
    Case("401 at the page", page(401), "failed", "auth", status=401),
    # statuses of the media
    Case("403 at the media", media(status=403), "pending", "transient", status=403),
    Case("404 at the media", media(status=404), "failed", "permanent", status=404),
    Case("410 at the media", media(status=410), "failed", "permanent", status=410),
    Case("416 at the media, whatever is asked", media(status=416), "pending", "transient", status=416),
    Case("429 at the media", media(status=429, headers=LATER), "pending", "rate_limited", status=429),
    Case("429 twice with Retry-After: 1", media(status=429, headers={"Retry-After": "1"}, spoilt=2), "ok", attempts=3),
    Case("451 at the media", media(status=451), "failed", "geo", status=451),
    Case("500 at the media", media(status=500), "pending", "transient", status=500),
    Case("503 at the media", media(status=503), "pending", "transient", status=503),
    # bodies
    Case("body cut 5 times, Range", media(cut=sixth), "pending", "transient"),
    Case("body cut twice, Range", media(cut=sixth, spoilt=2), "ok"),
    Case("body cut, no Range", media(cut=half, ranges=False), "pending", "transient"),
    Case("body cut, no Content-Length", media(4.0, cut=half, length=False), "failed", "invalid_media"),
    Case("chunked body cut", media(4.0, chunked=True, cut=sixth), "pending", "transient"),
    Case("Content-Length too long", media(length=10_000_000), "pending", "transient"),
    Case("Content-Length too short", media(4.0, length=20_000), "failed", "invalid_media"),
    Case("a web page as video/mp4", media(body=b"<html><body>Sorry</body></html>"), "failed", "invalid_media"),
    Case("zero bytes", media(body=b""), "pending", "transient"),
    Case("another duration than the page says", media(60.0), "failed", "invalid_media"),
    # silence
    Case("no answer at all", media(silent=True), "pending", "transient", limits=SILENCE),
    Case("silence in the middle", media(stall=sixth), "pending", "transient", limits=SILENCE),
    Case("bytes dripping for ever", media(drip_s=0.2), "pending", "timeout", limits=DRIP),
    # the way there
    Case("a name that does not resolve", no_such_name, "pending", "transient", status=502),
    Case("a name that does not resolve, by TLS", no_such_name_by_tls, "pending", "transient"),
    Case("TLS that ends in its handshake", no_handshake, "pending", "transient"),
    Case("a redirect loop", redirect_loop, "failed", "permanent", status=302),
    Case("an address that is not public", inner_address, "failed", "private_address"),
    Case("a redirect to an address that is not public", redirect_inside, "failed", "private_address"),
    Case("media that is neither http nor https", other_scheme, "failed", "permanent"),
    # pieces
    Case("an HLS segment that is gone", stream(status=404), "failed", "permanent", status=404),
    Case("an HLS segment that is cut", stream(cut=1000), "pending", "transient"),
    Case("an HLS segment that is cut, no Content-Length", stream(cut=1000, length=False), "failed", "invalid_media"),
    Case("an HLS segment that fails once", stream(status=503, spoilt=1), "ok"),
    # wishes
    Case("X-Robots-Tag: noai on the file", media(headers={"X-Robots-Tag": "noai"}), "rejected", "opt_out"),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Film:
    import imageio_ffmpeg
    import numpy as np

    folder = tmp_path_factory.mktemp("film")
    frames = np.zeros((60, 96, 160, 3), np.uint8)
    for index in range(60):
        frames[index, 30:60, 2 * index : 2 * index + 30] = (200, 40 + 2 * index, 90)
        frames[index, 70:] = np.random.default_rng(index).integers(0, 255, (26, 160, 3), np.uint8)
    path = make_video(folder / "film.mp4", frames, fps=15)
    streamable = folder / "streamable.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-c", "copy", "-movflags"]
    subprocess.run([*command, "+faststart", str(streamable)], check=True)
    pieces = folder / "hls"
    pieces.mkdir()
    return Film(4.0, path.read_bytes(), streamable.read_bytes(), hls(path, pieces))


@pytest.fixture(scope="module")
def internet() -> Iterator[FaultSite]:
    running = FaultSite()
    yield running
    running.close()


def settings(internet: FaultSite, urls: Path, **download: Any) -> Config:
    polite = {"workers": 16, "host_interval_s": 0.0, "min_free_gb": 0.0, "socket_timeout_s": 60.0, "deadline_s": 240.0}
    waits = {"backoff_s": 600.0, "breaker_s": 1.0, "max_wait_s": 5.0}
    source = SourceConfig(spec=f"urls:{urls}", batch_size=1000, proxy=internet.proxy_url, check_certificates=False)
    return Config(source=source, download=DownloadConfig(**{**polite, **waits, **download}), engine=EngineConfig())


@dataclass(frozen=True)
class Run:
    """The matrix after a search and a pass for each set of limits."""

    store: Store
    searches: list[SearchReport]
    reports: list[DownloadReport]
    by_case: dict[str, str]
    """Video id by the name of the case."""
    states: dict[str, State]
    attempts: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, internet: FaultSite, film: Film) -> Run:
    folder = tmp_path_factory.mktemp("matrix")
    urls = {case.publish(internet, f"case-{index}.test", film): case.name for index, case in enumerate(CASES)}
    assert len(urls) == len(CASES)
    store = Store(folder / "root")
    home = home_of(store)
    # leftovers of an attempt whose process is gone: parts of other files, longer and shorter than what will come
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name, size in (("longer", 10_000_000), ("shorter", 1000)):
        stale = home.tmp / f"download-{dead.pid}-{name}" / name
        stale.mkdir(parents=True)
        (stale / "media.mp4.part").write_bytes(b"\xff" * size)
    searches, reports = [], []
    for limits in ({}, SILENCE, DRIP):
        names = {case.name for case in CASES if case.limits == limits}
        (folder / "urls.txt").write_text("\n".join(url for url, name in urls.items() if name in names))
        config, known = settings(internet, folder / "urls.txt", **limits), batches(store)
        with pytest.MonkeyPatch.context() as patch:
            if limits:  # one search through a worker process is enough
                use_inline_engine(patch)
            searches.append(search_videos(Job(store, config, home)))
        (batch,) = set(batches(store)) - set(known)
        reports.append(download_batch(BatchJob(store, config, home, batch=batch)))
    videos = store.read("videos").to_pylist()
    by_host = {row["url"].split("/")[2]: row["video_id"] for row in videos}
    by_case = {name: by_host[url.split("/")[2]] for url, name in urls.items()}
    attempts: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(store.read("downloads").to_pylist(), key=lambda row: row["finished_at"]):
        attempts.setdefault(row["video_id"], []).append(row)
    return Run(store, searches, reports, by_case, download_states(store), attempts)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_fault_ends_in_the_state_that_is_stated(run: Run, case: Case) -> None:
    name = run.by_case[case.name]
    state, tried = run.states[name], run.attempts.get(name, [])
    last: dict[str, Any] = tried[-1] if tried else {}
    seen = (state.state, state.error_class, state.attempts, last.get("http_status"))
    assert seen == (case.state, case.error_class, case.attempts, case.status), last.get("message")
    assert len(tried) == case.attempts
    assert [row["attempt"] for row in tried] == list(range(1, case.attempts + 1))
    raw = [path for path in run.store.list_blobs("raw") if name in path]
    assert raw == ([state.path] if case.state == "ok" else [])
    if not tried:
        return
    if case.state == "pending":
        assert state.next_try_at is not None
        assert state.next_try_at > last["finished_at"]
    if case.state != "ok":
        assert last["message"]
    else:
        assert last["bytes"] == len(run.store.read_blob(raw[0]))


def test_every_video_is_accounted_for(run: Run) -> None:
    expected: dict[str, int] = {}
    for case in CASES:
        expected[case.state] = expected.get(case.state, 0) + 1
    seen = {"ok": 0, "failed": 0, "rejected": 0, "pending": 0}
    for report in run.reports:
        seen["ok"] += report.ok
        seen["failed"] += sum(report.failed.values())
        seen["rejected"] += report.rejected.get("opt_out", 0)
        seen["pending"] += report.pending
        assert not report.paused
    assert seen == expected
    assert sum(report.videos for report in run.reports) == len(CASES) == sum(search.kept for search in run.searches)
    tried = sum(report.tried for report in run.reports)
    assert tried == sum(case.attempts for case in CASES) == run.store.read("downloads").num_rows


def test_no_fault_leaves_a_file_behind(run: Run) -> None:
    assert os.listdir(home_of(run.store).tmp) == []
    assert len(run.store.list_blobs("raw")) == sum(case.state == "ok" for case in CASES)


def test_what_came_whole_is_what_the_sites_sent(run: Run, film: Film) -> None:
    kinds = {film.mp4, film.streamable}
    for case in CASES:
        if case.state == "ok" and "HLS" not in case.name:
            assert run.store.read_blob(run.states[run.by_case[case.name]].path or "") in kinds


def test_only_the_sites_that_asked_for_rest_rest(run: Run) -> None:
    refused = {case.name for case in CASES if case.error_class == "rate_limited" or not case.attempts}
    sites = {f"case-{index}.test" for index, case in enumerate(CASES) if case.name in refused}
    assert {site for report in run.reports for site in report.paused_sites} == sites
    open_now = {site for site, breaker in breakers(run.store).items() if breaker.state == "open"}
    assert open_now == sites


def test_the_matrix_is_written_down() -> None:
    text = DOCS.read_text("utf-8").splitlines()
    assert [case.line for case in CASES if case.line not in text] == []
    rows = [line for line in text if line.startswith("| ") and line.endswith((" whole |", " none |"))]
    assert len(rows) == len(CASES)


# -- the way out of this machine ----------------------------------------------------------------------------------


def collect(store: Store, config: Config) -> DownloadReport:
    if not batches(store):
        search_videos(Job(store, config, home_of(store)))
    return download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]))


@pytest.mark.usefixtures("inline")
def test_a_proxy_that_is_gone_is_no_fault_of_the_videos(store: Store, tmp_path: Path, internet: FaultSite) -> None:
    (tmp_path / "urls.txt").write_text("http://any.test/a.mp4\nhttps://any.test/b.mp4\n")
    config = settings(internet, tmp_path / "urls.txt")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        gone = f"http://me:s3cret@127.0.0.1:{taken.getsockname()[1]}"
        report = collect(store, dataclasses.replace(config, source=dataclasses.replace(config.source, proxy=gone)))
    assert report.pending_classes == {"environment": 2}
    messages = [row["message"] for row in store.read("downloads").to_pylist()]
    assert len(messages) == 2
    assert not any("s3cret" in message for message in messages)


@pytest.mark.usefixtures("inline")
def test_a_certificate_that_nobody_signed_is_refused_unless_the_user_says_so(
    store: Store, tmp_path: Path, internet: FaultSite, film: Film
) -> None:
    (tmp_path / "urls.txt").write_text(internet.add("https://certificate.test/film.mp4", film.mp4))
    trusting = settings(internet, tmp_path / "urls.txt")
    strict = dataclasses.replace(trusting, source=dataclasses.replace(trusting.source, check_certificates=True))
    assert collect(store, strict).pending_classes == {"transient": 1}
    (row,) = store.read("downloads").to_pylist()
    assert "CERTIFICATE_VERIFY_FAILED" in row["message"]
    trusted = Store(tmp_path / "trusted")
    assert collect(trusted, trusting).ok == 1


@pytest.mark.usefixtures("inline")
def test_pages_of_one_name_on_two_hosts_are_two_videos(
    store: Store, tmp_path: Path, internet: FaultSite, film: Film
) -> None:
    urls = []
    for host in ("one.test", "two.test"):
        internet.add(f"http://{host}/film.mp4", film.streamable)
        urls.append(internet.add(f"http://{host}/watch", player_page("A film", f"http://{host}/film.mp4"), HTML))
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    report = collect(store, settings(internet, tmp_path / "urls.txt"))
    assert (report.ok, report.videos) == (2, 2)


def test_a_page_that_drips_for_ever_holds_no_search(store: Store, tmp_path: Path, internet: FaultSite) -> None:
    page = internet.add("http://drip.test/watch", b"<html>" + b" " * 10000, HTML, drip_s=0.1)
    (tmp_path / "urls.txt").write_text(page)
    found = search_videos(Job(store, settings(internet, tmp_path / "urls.txt", socket_timeout_s=0.5), home_of(store)))
    assert found.kept == 1  # to be tried again by the download
    assert "longer than 2 s" in found.failures[page]


# -- the machine itself -------------------------------------------------------------------------------------------


def publish_two(internet: FaultSite, folder: Path, host: str, film: Film, **faults: Any) -> Config:
    """Publish a good video and a spoilt one, search both into the root, and return the settings that take them."""
    urls = [internet.add(f"http://{host}/good.mp4", film.streamable)]
    internet.add(f"http://{host}/film.mp4", film.streamable, **faults)
    urls.append(internet.add(f"http://{host}/watch", player_page("A film", f"http://{host}/film.mp4"), HTML))
    (folder / "urls.txt").write_text("\n".join(urls))
    config, store = settings(internet, folder / "urls.txt", socket_timeout_s=30.0), Store(folder / "root")
    search_videos(Job(store, config, home_of(store)))
    return config


def in_the_middle(start: list[str], root: Path) -> subprocess.Popen[str]:
    """Start a collection and return it once a part of a file has arrived."""
    process = subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + 120
    while not any(bytes_of(part) > 1000 for part in (root / "tmp").glob("*/*/*.part")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


def bytes_of(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:  # it has become whole
        return 0


def assert_both_came(root: Path, film: Film) -> None:
    store = Store(root)
    assert {state.attempts for state in download_states(store).values()} == {1}
    assert [store.read_blob(path) for path in store.list_blobs("raw")] == [film.streamable] * 2
    assert list((root / "tmp").iterdir()) == []


@pytest.mark.usefixtures("inline")
def test_a_kill_in_mid_download_costs_that_attempt_and_nothing_else(
    tmp_path: Path, internet: FaultSite, film: Film
) -> None:
    config, root = publish_two(internet, tmp_path, "kill.test", film, stall=half(film)), tmp_path / "root"
    with in_the_middle(collect_command(config, root, root), root) as process:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert list((root / "tmp").iterdir())
    internet.add("http://kill.test/film.mp4", film.streamable)
    assert collect(Store(root), config).ok == 2
    assert_both_came(root, film)


@pytest.mark.usefixtures("inline")
def test_a_worker_that_dies_in_mid_download_costs_its_videos_nothing(
    tmp_path: Path, internet: FaultSite, film: Film
) -> None:
    config, root = publish_two(internet, tmp_path, "worker.test", film, stall=half(film)), tmp_path / "root"
    with in_the_middle(collect_command(config, root, root), root) as process:
        internet.add("http://worker.test/film.mp4", film.streamable)
        (worker,) = psutil.Process(process.pid).children()
        worker.kill()
        output = process.communicate(timeout=120)[0]
    assert json.loads(output.splitlines()[-1])["ok"] == 2
    assert_both_came(root, film)


@pytest.mark.usefixtures("inline")
def test_a_full_disk_pauses_the_downloads_and_fails_none(tmp_path: Path, internet: FaultSite, film: Film) -> None:
    config = publish_two(internet, tmp_path, "full.test", film)
    root, home = tmp_path / "root", tmp_path / "home"
    home.mkdir()
    kilobytes = len(film.streamable) // 2048
    mount = f"mount -t tmpfs -o size={kilobytes}k tmpfs {shlex.quote(str(home))}"
    small = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*small, mount], capture_output=True).returncode:
        pytest.skip("a small disk needs unshare and user namespaces")
    report = collected([*small, f"{mount} && {shlex.join(collect_command(config, root, home))}"])
    assert (report["ok"], report["pending"], report["failed"]) == (0, 2, {})
    assert "no room left" in report["paused"]
    classes = set(report["pending_classes"])
    assert "environment" in classes
    assert classes <= {"environment", "new"}
    store = Store(root)
    assert store.list_blobs("raw") == []
    states = download_states(store).values()
    assert all(state.next_try_at for state in states if state.attempts)


@pytest.mark.usefixtures("inline")
def test_a_limit_on_the_size_of_files_is_no_fault_of_the_video(tmp_path: Path, internet: FaultSite, film: Film) -> None:
    config = publish_two(internet, tmp_path, "limit.test", film)
    root = tmp_path / "root"
    size = len(film.streamable) // 2
    report = collected(
        collect_command(config, root, root), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    )
    assert (report["ok"], report["failed"]) == (0, {})
    assert report["pending_classes"] == {"environment": 2}
    assert list((root / "tmp").iterdir()) == []
