"""docs/model.md lists every setting of the world model that the demo changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config import preset

SECTIONS = ("tokenizer", "latent_actions", "dynamics", "training", "evaluation", "play")


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def test_the_docs_name_every_setting_that_the_demo_changes() -> None:
    text = (Path(__file__).parents[3] / "docs" / "model.md").read_text("utf-8")
    demo, paper = (dict(leaves(dataclasses.asdict(preset(name)))) for name in ("demo", "platformers"))
    changed = {path[-1] for path in demo if path[0] in SECTIONS and demo[path] != paper[path]}
    assert {name for name in changed if f"`{name}" not in text and f", `{name}" not in text} == set()
