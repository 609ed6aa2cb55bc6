"""What Prometheus gets: throughput, queue and failures by class, counted again only where a table changed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from assets.cli.main import main
from assets.cli.services import metrics as module
from assets.cli.services.metrics import StoreFigures, registry_of
from assets.settings import load_settings
from pipeline.inspect.failed_items import failed_items
from pipeline.inspect.status import status
from tests.synthetic import finished_store


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name.removeprefix("lampworks_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_status_and_a_text_file_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(finished_store(tmp_path).root)
    settings = load_settings(root)
    monkeypatch.setattr("os.environ", {"PATH": ""})
    # Dagster's own figures: tests/slow/test_deployment.py
    monkeypatch.setattr(module, "_of_dagster", list)
    assert main(["metrics", "--root", root]) == 0
    found = samples(capsys.readouterr().out)
    now = status(settings.store, settings.config)

    def of(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert of("videos", state="ok") == now.downloads.ok > 0
    assert of("videos", state="pending") == now.downloads.pending
    assert of("clips") == now.clips.total > 0
    assert of("decided_clips", decision="keep") == now.curated.keep
    assert of("unbalanced_totals") == len(now.violations) == 0
    attempts = settings.store.read("downloads").to_pylist()
    counted = sum(value for (name, _), value in found.items() if name == "attempts_total")
    assert counted == len(attempts) > 0
    assert of("downloaded_bytes_total") == sum(row["bytes"] or 0 for row in attempts)
    failed = [item for item in failed_items(settings.store, settings.config, datetime.now(UTC)) if not item.waits]
    assert failed
    assert sum(value for (name, _), value in found.items() if name == "failures") == len(failed)
    for item in failed:
        assert of("failures", kind=item.kind, error_class=item.error_class) >= 1
    assert {of("up", part=part) for part in ("store", "storage")} == {1}
    assert of("disk_free_bytes", folder="root") > 0
    # the same for a collector of text files, as a whole
    assert main(["metrics", "--root", root, "--textfile", str(tmp_path / "lampworks.prom")]) == 0
    written = samples((tmp_path / "lampworks.prom").read_text())
    assert written.keys() == found.keys()


def test_a_store_is_counted_again_only_where_a_table_changed_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(str(finished_store(tmp_path).root))
    figures, clock = StoreFigures(settings), [0.0]
    counts: list[float] = []

    def counting(self: StoreFigures) -> list[module.Metric]:
        counts.append(clock[0])
        clock[0] += 3  # seconds that a large store takes
        return []

    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(StoreFigures, "_count", counting)
    figures.metrics()
    row = settings.store.read("downloads").to_pylist()[0]
    settings.store.append("downloads", [row])
    figures.metrics()
    assert counts == [0.0], "a count of 3 seconds is not repeated for a minute"
    clock[0] = 64.0
    figures.metrics()
    assert counts == [0.0, 64.0]
    clock[0] = 500.0
    figures.metrics()
    assert counts == [0.0, 64.0], "nothing changed"


def test_what_does_not_answer_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(str(finished_store(tmp_path).root))
    monkeypatch.setenv("DAGSTER_PG_URL", "postgresql://me:secret@127.0.0.1:1/dagster")
    text = generate_latest(registry_of(lambda: settings)).decode()
    found = samples(text)
    assert found["up", frozenset({("part", "storage")})] == 0
    assert found["up", frozenset({("part", "store")})] == 1
    assert found["clips", frozenset()] > 0
    assert not any(name == "runs" for name, _ in found)
    assert "secret" not in text
