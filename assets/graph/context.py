"""What every asset body shares: its job, its progress callback, errors as sentences, and metadata for people."""

import errno
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.graph.resources import Lampworks
from assets.report.thumbnails import bars_svg, histogram_svg, sparkline_svg, svg_markdown
from assets.settings import Settings
from assets.suggested import options_of, with_root
from models.training.observed import Observed
from pipeline.config import Config
from pipeline.costs.booking import booked
from pipeline.errors import StoreError, UserError
from pipeline.job import BatchJob, Job
from pipeline.outside import shown_text, shown_values
from pipeline.progress import Notice, ProgressCallback
from pipeline.storage.home import Home
from pipeline.storage.store import Store

# an asset writes its own tables and blobs, nothing is handed to an IO manager; Dagster reads the bare class alone
if TYPE_CHECKING:
    Result = dg.MaterializeResult[Any]
else:
    Result = dg.MaterializeResult
USER_ERROR = "lampworks/user_error"
# one event is 1-2 kB in Dagster's database: a line of progress every few seconds would fill it. So a step of ten
# minutes logs sixty lines, one of a day some 360
_LOG_EVERY_S, _LOG_SHARE = 10.0, 1 / 60


@dataclass(frozen=True)
class Work:
    """What an asset's body works on: its stage's job, and Dagster's context of the step."""

    context: dg.AssetExecutionContext
    job: Job

    @property
    def store(self) -> Store:
        """Tables and blobs."""
        return self.job.store

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.job.config

    @property
    def home(self) -> Home:
        """Local state."""
        return self.job.home

    @property
    def on_progress(self) -> ProgressCallback | None:
        """Where progress goes."""
        return self.job.on_progress

    def batch_job(self, batch: str) -> BatchJob:
        """Return the job limited to one batch."""
        return self.job.of_batch(batch)


@contextmanager
def working(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Iterator[Work]:
    """Yield the step's Work; a UserError becomes a Failure with its sentence and no traceback."""
    with user_failure(lampworks), booked_step(context, settings := lampworks.settings()):
        yield Work(context, settings.job(thinned(context.log.info)))


@contextmanager
def booked_step(context: dg.AssetExecutionContext, settings: Settings) -> Iterator[None]:
    """Book what the step uses in the table `costs`."""
    batch = context.partition_key if context.has_partition_key else None
    with booked(settings.store, settings.config, context.asset_key.to_user_string(), batch):
        yield


@contextmanager
def user_failure(lampworks: Lampworks) -> Iterator[None]:
    """Turn an error that the user can fix into a Failure of one sentence; others keep their traceback."""
    try:
        yield
    except (UserError, StoreError) as exc:
        told = _with_root(shown_text(exc), lampworks)
        raise dg.Failure(told, metadata={USER_ERROR: True}, allow_retries=False) from None
    except dg.Failure as exc:
        exc.description = _with_root(exc.description or "", lampworks)
        raise
    except OSError as exc:
        if exc.errno != errno.ENOSPC and "No space left" not in str(exc):
            raise
        raise dg.Failure(
            f"no space left for root {lampworks.settings().store.root!r} ({shown_text(exc)}): free space, or move the "
            "root, and start again; what was published stays.",
            metadata={USER_ERROR: True},
            allow_retries=False,
        ) from exc
    except Exception as exc:
        # Dagster keeps the message of every error, and of its causes, in its database
        hide_addresses(exc)
        raise


def _with_root(text: str, lampworks: Lampworks) -> str:
    """Return an error whose commands name the root: whoever reads it in Dagster's pages pastes them elsewhere."""
    with suppress(UserError, StoreError):  # the error may be that of the settings
        return with_root(text, options_of(lampworks.settings()))
    return text


def hide_addresses(error: BaseException) -> None:
    """Show the addresses in the texts of an error and of its causes without user, password and query."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.args = shown_values(one.args)
            waiting += [inner for inner in (one.__cause__, one.__context__) if inner is not None]


def batch_of(context: dg.AssetExecutionContext) -> str:
    """Return the run's batch; a run without one fails with a sentence, not with a traceback or on nothing."""
    if context.has_partition_key:
        return context.partition_key
    name = context.asset_key.to_user_string()
    raise dg.Failure(
        f"{name} is made per batch and this run names none: choose a partition of `video_batch` in the launch window, "
        "or let `lampworks run` order the batches.",
        metadata={USER_ERROR: True},
        allow_retries=False,
    )


def materialized(
    rows: int,
    version: object,
    checks: Iterable[dg.AssetCheckResult],
    metadata: Mapping[str, Any],
) -> Result:
    """Return an asset's result: its row count, its data version, its checks and what a person wants to see."""
    shown = {name: shown_values(value) for name, value in metadata.items() if value is not None}
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows, **shown},
        data_version=dg.DataVersion(str(version)),
        check_results=list(checks),
    )


def bars(counts: Mapping[str, float], alt: str) -> dg.MarkdownMetadataValue:
    """Return a bar chart that Dagster shows without a click."""
    return dg.MetadataValue.md(svg_markdown(bars_svg(shown_values(dict(counts)).items()), alt) if counts else "none")


def histogram(values: Sequence[float], low: float, high: float, alt: str) -> dg.MarkdownMetadataValue:
    """Return a histogram that Dagster shows without a click."""
    return dg.MetadataValue.md(svg_markdown(histogram_svg(values, low=low, high=high), alt))


def line(values: Sequence[float], alt: str) -> dg.MarkdownMetadataValue:
    """Return a curve that Dagster shows without a click."""
    return dg.MetadataValue.md(svg_markdown(sparkline_svg(values), alt))


def table(rows: Sequence[Mapping[str, Any]], limit: int = 20) -> dg.TableMetadataValue | None:
    """Return rows as a table of Dagster's (the first `limit`), or None without any."""
    if not rows:
        return None
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows[:limit]]
    kinds = {bool: "bool", int: "int", float: "float"}
    first = records[0].data
    schema = dg.TableSchema([dg.TableColumn(name, kinds.get(type(value), "string")) for name, value in first.items()])
    return dg.MetadataValue.table(records, schema)


def picture(store: Store, key: str | None) -> dg.MetadataValue[Any] | None:
    """Return a link to a blob that shows real video, never the picture itself: a takedown could not remove that."""
    if key is None:
        return None
    return dg.MetadataValue.path(store.url(key)) if store.is_local else dg.MetadataValue.url(store.url(key))


def flat_metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the finite numbers among nested metrics as flat metadata, which Dagster plots over time."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}/{inner}": number for inner, number in flat_metrics(value).items()})
        elif isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value)):
            flat[name] = value
    return flat


class Curves(Observed):
    """Records a training's metrics step by step, as live plots of the asset in the UI.

    At most 200 observations a run, however many steps: their cost grows faster than their number.
    """

    def __init__(self, context: dg.AssetExecutionContext, total_steps: int) -> None:
        def observe(step: int, numbers: Mapping[str, float]) -> None:
            shown = {"train/step": step, **numbers}
            context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=shown))

        super().__init__(total_steps, observe)


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = shown_text(value)
    return text if len(text) <= 80 else text[:77] + "..."


def thinned(forward: ProgressCallback, clock: Callable[[], float] = time.monotonic) -> ProgressCallback:
    """Return a callback that forwards progress less often the longer it goes on; closing lines and notices always."""
    start, last = clock(), -math.inf

    def on_progress(text: str) -> None:
        nonlocal last
        now = clock()
        if isinstance(text, Notice):
            forward(text)
            return
        if now - last < max(_LOG_EVERY_S, (now - start) * _LOG_SHARE) and ", took " not in text:
            return
        last = now
        forward(shown_text(text))

    return on_progress
