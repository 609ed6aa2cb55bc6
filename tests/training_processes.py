"""The command `python -m models.training` in processes of its own, on a store of four small clips."""

import json
import os
import subprocess
import sys
import time

import psutil

from models.training.report import ReportReader
from models.training.settings_file import write_settings
from pipeline.storage.store import Store


class Command:
    """A running command; its events are read while it runs."""

    def __init__(self, folder, config, *arguments, model="tokenizer", root=None):
        self.store = Store(root or folder / "root")
        write_settings(Store(folder), "settings", config)
        self.report = folder / f"report-{time.monotonic_ns()}.jsonl"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPWORKS_")}
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "models.training", model, "--config", str(folder / "settings" / "config.yaml"),
                "--root", self.store.root, "--report", str(self.report), *arguments,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        self._reader, self.events = ReportReader(self.report), []

    def until(self, holds, timeout_s=240):
        """Return the first event for which something holds; the command must still run, or have said it."""
        end, seen = time.monotonic() + timeout_s, 0
        while time.monotonic() < end:
            running = self.process.poll() is None
            self.events += self._reader.new()
            for event in self.events[seen:]:
                if holds(event):
                    return event
            seen = len(self.events)
            assert running, f"the command ended with {self.process.returncode}: {self.process.stdout.read()[-3000:]}"
            time.sleep(0.02)
        raise AssertionError(f"not in {timeout_s} s: {self.events[-5:]}")

    def ended(self, timeout_s=240):
        """Return status and output."""
        output, _ = self.process.communicate(timeout=timeout_s)
        self.events += self._reader.new()
        return self.process.returncode, output

    def of(self, name):
        return [event for event in self.events if event["event"] == name]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        for process in [self.process, *children]:
            process.kill()
        self.process.communicate()


def curve(store, kind="video_tokenizer"):
    """The curve of the only model of a kind."""
    keys = [key for key in store.list_blobs(f"models/{kind}") if key.endswith("curve.json")]
    assert len(keys) == 1, keys
    return json.loads(store.read_blob(keys[0]))
