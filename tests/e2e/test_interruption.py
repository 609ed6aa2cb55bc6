"""A run of the command that is killed again and again ends where an undisturbed one ends.

The process that a person starts is killed: while its source is made, among its workers, and while it publishes and
trains. `tests/slow/test_killed_assets.py` kills every asset at random points, in forks of a process with all imports.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.snapshots import digests

# as soon as one of these appears, the run is killed in the middle of what writes it
MOMENTS = ("arcade/*/*", "clips/*/*/*", "shards/*/*/*", "models/world_model/runs/*/checkpoints/*")
KEPT = ("clips/", "shards/", "models/")
# a packed world holds rows of models, which tell how long the trainings took; its weights are among the models
TIMED = "models/playable_world/"


@pytest.mark.slow
def test_a_run_that_is_killed_from_beginning_to_end_leaves_the_same_store_as_an_undisturbed_one(
    tmp_path: Path,
    tiny_settings: dict[str, Any],
    lampworks: Any,
) -> None:
    config = tmp_path / "config.yaml"
    # short clips: what is tried here does not depend on their length
    settings = {
        **tiny_settings,
        "arcade": {"videos": 16, "seconds": 4.2},
        "clips": {"seconds": 4},
        "rules": {"min_duration_s": 0.0},
        "source": {"spec": "arcade"},
    }
    config.write_text(yaml.safe_dump(settings), "utf-8")
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    lampworks("run", "--root", str(calm), "--config", str(config))

    seen = []
    for moment in MOMENTS:
        process = lampworks.start("run", "--root", str(disturbed), "--config", str(config))
        while process.poll() is None and not any(disturbed.glob(moment)):
            time.sleep(0.05)
        if process.poll() is None:
            seen.append(moment)
            process.kill()
        process.communicate()
    lampworks("run", "--root", str(disturbed), "--config", str(config))

    assert len(seen) >= len(MOMENTS) - 1, f"killed in {seen} only"
    states = [json.loads(lampworks.here("status", "--root", str(root), "--json")) for root in (calm, disturbed)]
    for state in states:
        state.pop("root", None)
        state.pop("costs")  # what was lost and done again was paid for twice
    assert states[1]["conserved"] is True
    assert states[0] == states[1]
    garbage = lampworks.here("gc", "--root", str(disturbed))
    assert garbage
    published = [
        {
            name: digest
            for name, digest in digests(root).items()
            if name.startswith(KEPT) and not name.startswith(TIMED) and ".tmp" not in name
        }
        for root in (calm, disturbed)
    ]
    assert published[0] == published[1]
