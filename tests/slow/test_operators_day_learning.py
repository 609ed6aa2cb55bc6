"""What happens to a stage that learns or looks at clips when it is ended: embeddings, classifier, scores.

By the functions that the graph calls, in one process, with networks of toy width on the videos of `tests.laws`: the run
is ended in the middle of what the stage does with its store, and the next one ends as an undisturbed one.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import SourceConfig
from pipeline.inspect.deep import find_faults
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.status import status
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.campaign.published import published
from tests.laws.recording import Log, run_recorded
from tests.laws.stages import CONFIG, STAGES, write_videos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUN = {stage.name: stage.run for stage in STAGES[: [stage.name for stage in STAGES].index("scores") + 1]}
ENDED = ("embeddings", "classifier", "scores")
PARTS = 2
"""A stage is ended in the middle of what it does, and just before the last thing of it that readers see."""


class Root:
    """A root in which every stage up to the scores ran once, and how it stood before and after those that are ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.after = folder, dict[str, dict[str, str]]()
        write_videos(folder / "videos")
        self.config = replace(CONFIG, source=SourceConfig(spec=f"folder:{folder / 'videos'}"))
        self.logs = {name: Log() for name in RUN}
        calm = folder / "calm" / "root"
        Store(calm).check_writable()
        for name, stage in RUN.items():
            if name in ENDED:
                shutil.copytree(calm, folder / "before" / name)
            run_recorded(stage, calm, self.config, self.logs[name])
            if name in ENDED:
                self.after[name] = published(Store(calm))

    def moments(self, name: str) -> list[int]:
        events = self.logs[name].events
        last = max(number for number, event in enumerate(events) if event.is_publication)
        return sorted({*(len(events) * part // PARTS for part in range(1, PARTS)), max(last - 1, 0)})

    def check(self, root: Path, at: str) -> None:
        """See that nothing is half: all totals balance, every file is what its row says."""
        store = Store(root)
        assert status(store, self.config).violations == [], at
        assert find_faults(store, home_of(store)) == [], at


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return Root(tmp_path_factory.mktemp("learning"))


class Ended(BaseException):
    """What a run that is ended meets, as Dagster raises it: no `except Exception` catches it."""


def _end() -> None:
    raise Ended


@pytest.mark.parametrize("name", ENDED)
def test_a_stage_that_is_ended_leaves_nothing_half_and_the_next_run_ends_as_an_undisturbed_one(
    name: str, made: Root
) -> None:
    for moment in made.moments(name):
        root = made.folder / f"{name}-{moment}" / "root"
        shutil.copytree(made.folder / "before" / name, root)
        at = f"ended after {made.logs[name].events[moment]} (event {moment})"
        with pytest.raises(Ended):
            run_recorded(RUN[name], root, made.config, Log(after=moment, arrival=_end))
        made.check(root, at)
        run_recorded(RUN[name], root, made.config, Log())
        made.check(root, at)
        found, good = published(Store(root)), made.after[name]
        assert sorted(key for key in good.keys() | found.keys() if good.get(key) != found.get(key)) == [], at
        assert [key for key in collect_garbage(Store(root), dry_run=True) if ".tmp-" in key] == [], at
        tmp = home_of(Store(root)).tmp
        assert not tmp.exists() or list(tmp.iterdir()) == [], at
