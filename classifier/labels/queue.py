"""The order in which clips are offered to labellers: a random draw over sources, with the choices of a model between.

Every source (channel, or video) gives at most `max_per_source` clips, drawn by a seeded hash. Sources take turns, so
that the first hundred labels already span a hundred sources. This is the stream `random`, from which shares of all
clips can be estimated; whatever a model asks for, it keeps at least a tenth of the queue. Once clips are scored, others
come between (`classifier.labels.streams` lists the streams), and clips with a flag that drops them are mixed in
sparsely. Clips that no stream chose come next, copies last.

What is drawn depends on the clips and the seed alone. A model's choices leave out what is rated, and are made anew when
the decision is made anew, not with every label: the order stays while people work through it. The blob is rewritten
only when it changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from classifier.labels.journal import journal_rows
from classifier.labels.order import Order, base_draw, order_clips
from classifier.labels.streams import STREAMS, QueueItem
from classifier.pool import Pool, load_pool
from pipeline.config import Config
from pipeline.job import Job
from pipeline.label_events import load_labels
from pipeline.model_ids import EVALUATION
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

QUEUE_KEY = "labels/queue.json"
_ADVICE = "Write it again with `lampworks run --select label_queue`."
_FIELDS = {"clip_id", "stream"}


@dataclass(frozen=True)
class QueueReport:
    """What the queue holds."""

    size: int
    """Clips in the queue."""
    strata: Mapping[str, int]
    """Clips per stream that has any."""
    sources: int
    """Sources that have a clip in the queue."""
    written: bool
    """Whether it differs from the one before."""
    missing: Mapping[str, str]
    """Reason by stream of those that have a share in the configuration and no clip."""


def write_queue(job: Job) -> QueueReport:
    """Write the labelling queue of the present clips to `labels/queue.json` and return what it holds."""
    store, config = job.store, job.config

    def made() -> tuple[Order, dict[str, str], Pool]:
        pool = load_pool(store, config)
        base = base_draw(pool)
        basis = {"clips": base.fingerprint(config), "models": _models(store)}
        if _stored_basis(store) == basis:
            # as it is: the labels that came in since change nothing
            return Order(load_queue(store), read_json(store, QUEUE_KEY, _ADVICE).get("missing", {})), basis, pool
        return order_clips(pool, base, _rated(job)), basis, pool

    (items, missing), basis, pool = repeat_after_takedown(store, made)
    document = {"seed": config.labels.seed, "basis": basis, "missing": missing, "clips": items}
    data = json.dumps(document, indent=0).encode()
    written = not store.exists(QUEUE_KEY) or store.read_blob(QUEUE_KEY) != data
    if written:
        store.write_blob(QUEUE_KEY, data)
    counts = Counter(item["stream"] for item in items)
    videos = {item["clip_id"].rsplit("-", 2)[0] for item in items}
    return QueueReport(
        size=len(items),
        strata={stream: counts[stream] for stream in STREAMS if counts[stream]},
        sources=len({pool.group(video_id) for video_id in videos & pool.videos.keys()}),
        written=written,
        missing=missing,
    )


def queue_is_current(store: Store, config: Config, *, of_models: bool = True) -> bool:
    """Tell whether there is a queue and it offers the present clips.

    Args:
        store: the store.
        config: its settings.
        of_models: whether the choices by score must be those of the present decision. A pass does not ask for that,
            because it decides after it wrote the queue; the labelling page does, when it starts.
    """
    basis = _stored_basis(store)
    if basis is None or (of_models and basis["models"] != _models(store)):
        return False
    return basis["clips"] == base_draw(load_pool(store, config)).fingerprint(config)


def load_queue(store: Store, key: str = QUEUE_KEY) -> list[QueueItem]:
    """Return a queue in order; empty where none was written.

    Args:
        store: the store.
        key: of its blob; that of an audit has the same form.

    Raises:
        DamagedError: the file is not a queue; the next run writes it again.
    """
    if not store.exists(key):
        return []
    found = read_json(store, key, _ADVICE).get("clips")
    if not isinstance(found, list) or not all(isinstance(item, dict) and item.keys() >= _FIELDS for item in found):
        raise DamagedError(f"{store.root}/{key} is damaged: it lists no clips. {_ADVICE}")
    return [
        QueueItem(clip_id=item["clip_id"], stream=item["stream"], inclusion=item.get("inclusion")) for item in found
    ]


def _stored_basis(store: Store) -> dict[str, str] | None:
    """Return what the stored queue was made from; None without one, or where it cannot be read."""
    if not store.exists(QUEUE_KEY):
        return None
    try:
        basis = read_json(store, QUEUE_KEY, _ADVICE).get("basis")
        load_queue(store)
    except DamagedError:
        return None
    return basis if isinstance(basis, dict) and basis.keys() == {"clips", "models"} else None


def _models(store: Store) -> str:
    """Return what the choices of models depend on."""
    evaluation = newest_model(store, EVALUATION)
    return (
        f"curated {store.version('curated')}, embeddings {store.version('embeddings')}, evaluation "
        f"{None if evaluation is None else evaluation.model_id}, uncovered {store.version('uncovered')}"
    )


def _rated(job: Job) -> set[str]:
    """Return the clips that anyone rated, also those that only the journal knows yet."""
    of_page = {event["clip_id"] for event in journal_rows(job.home.journal)}
    return of_page | load_labels(job.store, job.config).events.keys()
