"""Run a training's processes for a step of Dagster, and tell the step what they report (Dagster Pipes).

The step starts this (`assets.graph.processes`). Pipes are opened here and not in a process of the training: such a
process may die and be started again, and Pipes are opened once.
"""

import json
import os
import sys
from typing import Any

from dagster_pipes import PipesContext, open_dagster_pipes

from models.runtime.process import end_with_parent
from models.runtime.ranks import Ranks
from models.training.check_ranks import check_ranks
from models.training.group import GroupError, GroupStoppedError, run_group
from pipeline.config import load_config
from pipeline.errors import StoreError, UserError
from pipeline.model_ids import TOKENIZER, WORLD, TrainedKind
from pipeline.storage.store import Store

OPTIONS = "LAMPWORKS_STORAGE_OPTIONS"


def main() -> int:
    """Run the group that the step asks for; return the exit status: 0, or 2 after an error that the step is told."""
    # the group must not outlive the step: where the step is killed, the processes save their state and leave
    end_with_parent()
    with open_dagster_pipes() as pipes:
        asked = pipes.extras
        if os.getppid() != asked["parent"]:
            return 2
        try:
            config = load_config(asked["config"])
            kind: TrainedKind = TOKENIZER if asked["arguments"][0] == "tokenizer" else WORLD
            check_ranks(config, kind, Ranks(0, config.training.processes * config.training.nodes))
            store = Store(asked["root"], json.loads(os.environ.get(OPTIONS) or "{}"))
            run_group(
                asked["arguments"], config, store, on_event=lambda event: pipes.report_custom_message(dict(event))
            )
        except GroupStoppedError as exc:
            return _fail(pipes, "stopped", exc)
        except GroupError as exc:
            return _fail(pipes, "died", exc)
        except (UserError, StoreError) as exc:
            return _fail(pipes, "refused", exc)
    return 0


def _fail(pipes: PipesContext, how: str, error: Exception) -> int:
    message: dict[str, Any] = {"event": "failed", "how": how, "text": str(error)}
    pipes.report_custom_message(message)
    return 2


if __name__ == "__main__":
    sys.exit(main())
