"""The report's part on agreement: how far people who rated the same clips agree, and each of them with themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.label_events import STAND_IN, load_labels
from pipeline.storage.store import Store

if TYPE_CHECKING:
    from classifier.labels.agreement import Agreed, Agreement, RatedTwice

_MOST_ROWS = 20


@dataclass(frozen=True)
class AgreementRow:
    """Two ratings of the same clips, compared."""

    who: str
    clips: int
    kappa: str
    same: str
    close: str


@dataclass(frozen=True)
class AgreementView:
    """What the report shows of the agreement."""

    sentence: str
    rows: list[AgreementRow]


def agreement_view(store: Store, config: Config) -> AgreementView | None:
    """Return how far ratings agree; None where no person rated a clip that another one, or they themselves, rated."""
    labels = load_labels(store, config)
    if not labels.repeats and not any(len(by.keys() - {STAND_IN}) > 1 for by in labels.events.values()):
        return None
    from classifier.labels.agreement import agreement_sentence, measure_agreement

    measured = measure_agreement(labels.events, labels.repeats)
    return AgreementView(agreement_sentence(measured), list(_rows(measured))[:_MOST_ROWS])


def _rows(measured: Agreement) -> Iterator[AgreementRow]:
    for pair in measured["pairs"]:
        yield _row(" and ".join(pair["raters"]), pair)
    for name, found in measured["own"].items():
        yield _row(f"{name}, shown again", found)
    for name, found in measured["gold"].items():
        yield _row(f"{name}, against gold", found)


def _row(who: str, found: RatedTwice) -> AgreementRow:
    return AgreementRow(
        who, found["same"]["clips"], _figure(found["kappa"]), _figure(found["same"]), _figure(found["close"])
    )


def _figure(found: Agreed) -> str:
    if found["few"]:
        return "too few to tell"
    if found["value"] is None:
        return "undefined"
    interval = found["interval"]
    return f"{found['value']:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")
