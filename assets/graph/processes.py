"""Train in processes of their own from a step of Dagster: through Pipes and torchrun.

    step (Dagster)  ->  assets.graph.training_launcher (Pipes)  ->  torchrun  ->  python -m models.training, per process

The processes train exactly as in the step itself, and publish the model. What they report comes back while they run:
lines of progress as the step's log, metrics as its observations. Where one of them dies the launcher starts all of
them again (`training.restarts`). An interrupted step asks them to save and leave, and waits for it.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dagster as dg
import psutil
from dagster_pipes import PipesMessage, PipesParams

from assets.graph.context import Work, thinned
from assets.graph.resources import CHECKOUT
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_ids import TrainedKind
from pipeline.outside import shown_text
from pipeline.progress import Notice, ProgressCallback
from pipeline.storage.owner import scratch_folder
from pipeline.storage.store import Store
from pipeline.usage import NAMES, Usage, add_of_worker, hold_gpus, release_gpus

OnStep = Callable[[int, Mapping[str, float]], None]
PATIENCE_S = 840.0
"""Time in which processes that were asked to leave may save: less than Dagster waits (`cancel_timeout_seconds`)."""
_POLL_S = 0.2
_NVIDIA = Path("/dev/nvidiactl")
"""Is there where a GPU is; torch, which knows for certain, is imported by the processes alone."""
_NAMES: Mapping[TrainedKind, str] = {"video_tokenizer": "tokenizer", "world_model": "world"}


def trains_in_processes(config: Config) -> bool:
    """Tell whether a configuration asks for processes of their own."""
    training = config.training
    return training.launch == "torchrun" or (training.launch == "auto" and training.processes * training.nodes > 1)


def train_in_processes(work: Work, kind: TrainedKind, on_step: OnStep) -> str:
    """Train and publish a model in processes of their own; return its id.

    Args:
        work: of the step.
        kind: what is trained.
        on_step: receives the step (from 1) and its metrics, of at most 200 steps.

    Raises:
        UserError: what the processes refused, as they said it.
        Failure: they died more often than they may be started again, or were ended from outside.
    """
    heard = _Heard(work.context, on_step, thinned(work.context.log.info))
    with _settings_file(work) as file:
        arguments = _arguments(work, kind, file)
        if work.config.training.nodes > 1:
            heard.say(Notice(_for_the_others(work.config, arguments)))
        extras = {
            "root": work.store.root,
            "config": str(file),
            "arguments": arguments,
            "parent": os.getpid(),
        }
        with ExitStack() as stack:
            with warnings.catch_warnings():
                # Dagster's own session reads a member of its reader that it calls a preview
                warnings.simplefilter("ignore", dg.PreviewWarning)
                session = stack.enter_context(
                    dg.open_pipes_session(
                        context=work.context,
                        context_injector=dg.PipesTempFileContextInjector(),
                        message_reader=_Reader(heard.take),
                        extras=extras,
                    )
                )
            if work.config.training.device != "cpu" and _NVIDIA.exists():
                hold_gpus(work.config.training.processes)
            status = _run(_environment(work.store, session.get_bootstrap_env_vars()))
            release_gpus()
    return heard.model_of(status)


@dataclass
class _Heard:
    """What the processes have reported."""

    context: dg.AssetExecutionContext
    on_step: OnStep
    say: ProgressCallback
    model: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event of `models.training.report`, or why the launcher gave up."""
        name = event["event"]
        if name == "line":
            self.say(Notice(event["text"]) if event["notice"] else event["text"])
        elif name == "step":
            self.on_step(event["step"], event["metrics"])
        elif name == "restart":
            self.context.log.warning(shown_text(f"all processes start again ({event['number']}): {event['reason']}"))
        elif name == "used":
            # the launcher waits for these processes, and the step for it; this one counts the GPUs that they hold
            told = {quantity: event[quantity] for quantity in NAMES}
            add_of_worker(Usage(**{**told, "gpu_s": 0.0}), is_child=True)
        elif name == "published":
            self.model = event["model_id"]
        elif name == "failed":
            self.failed = event

    def model_of(self, status: int) -> str:
        """Return the id of the published model, given how the launcher ended."""
        if not status and self.model:
            return self.model
        text = shown_text(self.failed.get("text", ""))
        if self.failed.get("how") == "refused":
            raise UserError(text)
        if not self.failed:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            text = f"the launcher of the training {how}: the step's stderr says what came before"
        raise dg.Failure(f"{text}. Materialize it again, and it goes on from its last checkpoint.", allow_retries=False)


class _Reader(dg.PipesTempFileMessageReader):
    """Hands the messages of the training on while it runs; Dagster's reader keeps them for its end."""

    def __init__(self, take: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._take = take

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[PipesParams]:
        """Read messages in a thread until the block ends."""
        with super().read_messages(cast("dg.PipesMessageHandler", _Handler(handler, self._take))) as params:
            yield params


class _Handler:
    """Stands before a handler of Dagster's and takes out what is the training's own."""

    def __init__(self, inner: dg.PipesMessageHandler, take: Callable[[Mapping[str, Any]], None]) -> None:
        self._inner, self._take = inner, take
        self.report_pipes_framework_exception = inner.report_pipes_framework_exception

    def handle_message(self, message: PipesMessage) -> None:
        """Take a message."""
        if message["method"] == "report_custom_message":
            assert message["params"] is not None
            self._take(message["params"]["payload"])
        else:
            self._inner.handle_message(message)


def _run(environment: Mapping[str, str]) -> int:
    """Run the launcher until it ends; return how. Nothing of it is left, whatever interrupts this."""
    # a session of its own: Ctrl-C in a terminal reaches the step alone, which asks the processes in order
    process = subprocess.Popen(
        [sys.executable, "-m", "assets.graph.training_launcher"], env=environment, start_new_session=True
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        end = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < end:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
        raise
    finally:
        # after a second interrupt, or where saving takes for ever
        if process.poll() is None:
            _kill(process.pid)
            process.wait()


def _kill(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(pid)
        for process in [*launcher.children(recursive=True), launcher]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def _settings_file(work: Work) -> Iterator[Path]:
    """Write the settings of the run as a file that `python -m models.training` reads; it is removed at the end."""
    from models.training.settings_file import NAME, write_settings

    with scratch_folder(work.home.tmp, "training") as folder:
        write_settings(Store(str(folder)), "settings", work.config)
        yield folder / "settings" / NAME


def _arguments(work: Work, kind: TrainedKind, file: Path) -> list[str]:
    return [_NAMES[kind], "--config", str(file), "--root", work.store.root, "--home", str(work.home.folder)]


def _for_the_others(config: Config, arguments: Sequence[str]) -> str:
    """Return how the other machines take part."""
    others = config.training.nodes - 1
    where = "the other machine" if others == 1 else f"each of the other {others} machines"
    return (
        f"waits for {config.training.nodes} machines at {config.training.rendezvous}: on {where}, with the same "
        f"lampworks, root and file of settings, run `python -m models.training {shlex.join(arguments)}`"
    )


def _environment(store: Store, pipes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the launcher and of the processes: they import from where the step does."""
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    # in the environment, and not on a command line, which every user of the machine sees
    options = json.dumps(dict(store.storage_options))
    # not from the folder it runs in, which may be a root with a folder `models` in it
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "LAMPWORKS_STORAGE_OPTIONS": options, **pipes}
