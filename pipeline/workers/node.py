"""What a node of a cluster does with an item: give it to a supervised worker process, as the local engine does.

The process in which Ray runs a task opens neither the item nor its result. It starts a worker process, which outlives
the task, and watches its deadline and its memory. So an item that crashes, hangs or takes too much memory has the same
outcome as on one machine, and what it started (ffmpeg) ends with it. Where Ray ends the process of a task, its worker
ends too.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import stat
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline.storage.owner import scratch_folder
from pipeline.workers.code import code_hash
from pipeline.workers.outcome import Later, Outcome
from pipeline.workers.supervisor import Limits, Supervisor
from pipeline.workers.tasks import Packed, TaskQueue

_NOTHING_YET_S = 0.05


@dataclass(frozen=True)
class Landmark:
    """A file of the root, by which a node shows that it sees the same folder."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class NodeTask:
    """What a node needs to know beside the item; the same for all items of a run."""

    setup: bytes
    """The pickled function, initializer and number of threads."""
    max_attempts: int
    deadline_s: float
    deadline_setting: str
    memory_mb: int
    tmp: str = ""
    """Folder for temporary files; "" for the node's own."""
    folders: tuple[str, ...] = ()
    """Folders that must be there."""
    landmark: Landmark | None = None


@dataclass(frozen=True)
class Started:
    """The first answer of a node to a task."""

    refusal: str = ""
    """Why the node cannot work on it."""
    package: str = ""
    """Folder of the code that it runs."""


def work_on(code: str, task: bytes, item: bytes) -> Iterator[Started | Outcome]:
    """Yield `Started`, and then the outcome of an item, whose value is packed.

    Args:
        code: hash of the code that must be here.
        task: the pickled `NodeTask`; it is not opened where the code is another.
        item: the pickled item; it is not opened here.

    Raises:
        RuntimeError: no worker process can start.
    """
    package = str(Path(__file__).parents[2])
    if code_hash() != code:
        why = f"it runs other code than this machine, from {package}: set engine.ship_code = true, or install the same "
        yield Started(f"{why}version on all nodes", package)
        return
    known: NodeTask = pickle.loads(task)
    refusal = _refusal(known)
    yield Started(refusal, package)
    if not refusal:
        yield _HOST.outcome(known, item)


def _refusal(task: NodeTask) -> str:
    if why := _why_not_mine(_scratch(task)):
        return why
    for folder in task.folders:
        if not Path(folder).is_dir():
            return f"it has no folder {folder}: share it with all nodes under this path, or use an s3:// root"
    mark = task.landmark
    if mark is not None and _sha256(Path(mark.path)) not in (mark.sha256, None):
        return f"its {mark.path} is another file than this machine's: the root is not one shared folder"
    if mark is not None and not Path(mark.path).exists():
        return f"it does not see {mark.path}: the root is not one shared folder; share it, or use an s3:// root"
    return ""


def _scratch(task: NodeTask) -> Path:
    """Return the folder for temporary files of this user's tasks."""
    return Path(task.tmp or tempfile.gettempdir(), f"lampworks-nodes-{os.getuid()}")


def _why_not_mine(folder: Path) -> str:
    """Make a folder that no other user can look into or write to; return why that cannot be, "" where it is so.

    Another user may have made it before, where all may write (/tmp), to exchange what lies in it.
    """
    advice = "remove it, or set engine.node_tmp to a folder of your own"
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return f"its folder for temporary files {folder} belongs to another user, or is a link: {advice}"
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        return f"its folder for temporary files {folder} cannot be made ({error.strerror}): {advice}"
    return ""


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


class _Host:
    """The worker process that belongs to this process of Ray; another run gets another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._task: NodeTask | None = None
        self._items: deque[Packed] = deque()
        self._outcomes: Iterator[tuple[object, Outcome]] | None = None
        self._stack = ExitStack()

    def outcome(self, task: NodeTask, item: bytes) -> Outcome:
        """Return what becomes of an item; RuntimeError where no worker can start."""
        with self._lock:
            if self._outcomes is None or task != self._task:
                self._end()
                self._start(task)
            assert self._outcomes is not None
            self._items.append(Packed(item))
            try:
                return next(self._outcomes)[1]
            except BaseException:
                self._end()
                raise

    def _start(self, task: NodeTask) -> None:
        stack = ExitStack()
        folder = stack.enter_context(scratch_folder(_scratch(task), "node"))
        limits = Limits(
            workers=1,
            threads=1,
            deadline_s=task.deadline_s,
            deadline_setting=task.deadline_setting,
            eager=False,
            memory_mb=task.memory_mb,
            tmp=str(folder),
        )
        queue = TaskQueue(self._given(), task.max_attempts, task.memory_mb)
        supervisor = Supervisor(queue, limits, task.setup)
        stack.callback(supervisor.close, grace_s=0)
        self._task, self._outcomes, self._stack = task, supervisor.outcomes(), stack

    def _end(self) -> None:
        self._items.clear()
        self._task = self._outcomes = None
        self._stack.close()

    def _given(self) -> Iterator[Packed | Later]:
        while True:
            yield self._items.popleft() if self._items else Later(_NOTHING_YET_S)


_HOST = _Host()
atexit.register(_HOST._end)
