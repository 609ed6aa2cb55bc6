"""Run a training as a group of processes under torchrun, and start the whole group again where one of them dies.

torchrun's own restarts are off (`--max-restarts=0`): they go on with the rendezvous of the group that died, where new
processes met the addresses of dead ones (2 of 9 such restarts finished when this was tried). A new torchrun has a new
rendezvous, and also stands in for one that died itself.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil
import torch

from models.runtime.process import end_with_parent
from models.runtime.ranks import check_device, check_gpus
from models.runtime.rendezvous import check_rendezvous
from models.training.report import Event, OnEvent, ReportReader
from models.training.restarts import Restarts
from pipeline.config import Config
from pipeline.errors import PermanentError, UserError
from pipeline.storage.store import Store

_POLL_S, _LEFT_S, _TAIL = 0.2, 10, 300
# torchrun's table of the processes that failed
_ENDS = re.compile(r"rank\s*: (\d+) \(local_rank.*?exitcode\s*: (-?\d+)", re.DOTALL)
# what torchrun itself logs of processes that end, and the last of it, which its traceback and that table follow
_TORCHRUN = re.compile(r"[IWE]\d{4} \S+ \d+ torch/distributed/elastic/")
_FAILED = re.compile(r"E\d{4} .* failed \(exitcode: -?\d+\) local_rank")


class GroupStoppedError(UserError):
    """A group was asked to stop, and has."""

    def __init__(self) -> None:
        super().__init__("the training was asked to stop: the same command goes on from its last checkpoint")


class GroupError(PermanentError):
    """A group of processes died more often than it may be started again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_class="training_group")


def run_group(arguments: Sequence[str], config: Config, store: Store, *, on_event: OnEvent) -> None:
    """Train in `training.processes` processes of this machine, until the model is published.

    SIGTERM is passed on to the processes, and ends the group without another start.

    Args:
        arguments: of `python -m models.training`, for each process.
        config: says how many processes, and how often they are started again.
        store: receives `restarts.json` beside the checkpoints: why the group was started again.
        on_event: receives what the processes report, and each restart.

    Raises:
        UserError: an error that the same settings meet again, as a process reported it.
        GroupError: the group died `training.restarts` times without another checkpoint, and why.
    """
    restarts = Restarts(store, config.training.restarts)
    while True:
        ended = _run_once(arguments, config, lambda event: _note(event, restarts, on_event))
        if ended is None:
            return
        if not restarts.may_go_on(ended):
            raise GroupError(restarts.sentence())
        on_event({"event": "restart", "number": restarts.number, "reason": ended})


def _note(event: Event, restarts: Restarts, on_event: OnEvent) -> None:
    if event["event"] == "run":
        restarts.begun(str(event["folder"]), int(event["step"]))
    on_event(event)


def _run_once(arguments: Sequence[str], config: Config, on_event: OnEvent) -> str | None:
    """Start the group once; return why it died, or None where it ended well."""
    with tempfile.TemporaryDirectory(prefix="lampworks-ranks-") as folder:
        group = _Group(Path(folder) / "events.jsonl", on_event)
        command = [*_torchrun(config), "-m", "models.training", *arguments, "--report", str(group.path)]
        # a session of its own: Ctrl-C in a terminal reaches this process alone, which passes it on
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True,
            preexec_fn=end_with_parent,
        )  # fmt: skip
        tail = deque[str](maxlen=_TAIL)
        reading = threading.Thread(target=_pass_on, args=(process, tail), daemon=True)
        reading.start()
        with _passing_signals_on(process, group):
            while process.poll() is None:
                group.take()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
        group.end()
        reading.join(timeout=_LEFT_S)
        return _why(process.returncode, group, "".join(tail))


class _Group:
    """What the processes of one start have reported."""

    def __init__(self, path: Path, on_event: OnEvent) -> None:
        self.path, self.errors, self.stopped = path, list[Event](), False
        self._reader, self._on_event, self._ranks = ReportReader(path), on_event, list[psutil.Process]()

    def take(self) -> None:
        """Take in new events."""
        for event in self._reader.new():
            if event["event"] == "error":
                self.errors.append(event)
                continue
            if event["event"] == "started":
                with suppress(psutil.NoSuchProcess):
                    self._ranks.append(psutil.Process(int(event["pid"])))
            self._on_event(event)

    def ask_to_stop(self) -> bool:
        """Send SIGTERM to all processes; return whether any is there."""
        self.stopped = True
        for process in self._ranks:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        return any(process.is_running() for process in self._ranks)

    def end(self) -> None:
        """Kill the processes that outlived torchrun, which would go on with the run beside the next group."""
        self.take()
        for process in self._ranks:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self._ranks, timeout=_LEFT_S)


def _torchrun(config: Config) -> list[str]:
    training = config.training
    check_device(training)
    if training.device != "cpu" and torch.cuda.is_available():
        check_gpus(training.processes)
    where = ["--standalone"]
    if training.nodes > 1:
        check_rendezvous(training.rendezvous)
        where = [f"--nnodes={training.nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={training.rendezvous}"]
        where += ["--rdzv-id=lampworks"]
    count = [f"--nproc-per-node={training.processes}", "--max-restarts=0"]
    return [sys.executable, "-m", "torch.distributed.run", *where, *count]


def _environment() -> dict[str, str]:
    # torchrun sets it to 1 and says so on every start; the training sets its own threads
    return {"OMP_NUM_THREADS": "1", **os.environ}


def _pass_on(process: subprocess.Popen[bytes], tail: deque[str]) -> None:
    """Copy what the processes print to this one's stderr, and keep the last lines.

    What torchrun prints of their ends is kept alone: the error of the group says it in a sentence.
    """
    assert process.stdout is not None
    ended = False
    with process.stdout as lines:
        for line in lines:
            text = line.decode(errors="replace")
            tail.append(text)
            ended |= _FAILED.match(text) is not None
            if not ended and not _TORCHRUN.match(text):
                sys.stderr.write(text)
                sys.stderr.flush()


@contextmanager
def _passing_signals_on(process: subprocess.Popen[bytes], group: _Group) -> Iterator[None]:
    """Inside the block, pass SIGTERM and Ctrl-C on to the processes, which save and leave."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        if not group.ask_to_stop():
            process.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _why(status: int, group: _Group, tail: str) -> str | None:
    """Return why a group died, None where it ended well; raise where another start is of no use."""
    for error in group.errors:
        if error["final"]:
            raise UserError(error["text"])
    if group.stopped:
        raise GroupStoppedError()
    if not status:
        return None
    ends = [(int(rank), int(code)) for rank, code in _ENDS.findall(tail)]
    killed = [(rank, -code) for rank, code in ends if code < 0]
    # torchrun ends the others by SIGTERM: that is no cause where there is another one
    causes = [(rank, number) for rank, number in killed if number != signal.SIGTERM]
    if not group.errors:
        causes = causes or killed
    if causes:
        return " and ".join(f"process {rank} was ended by {_name_of(number)}" for rank, number in sorted(causes))
    if group.errors:
        error = group.errors[0]
        return f"process {error['rank']} failed: {error['type']}: {error['text']}"
    if status < 0:
        return f"torchrun was ended by {_name_of(-status)}"
    return f"torchrun ended with status {status}: {tail.strip()[-500:] or 'it said nothing'}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
