"""constraints.txt, requirements.lock and pyproject.toml name the same versions: `make lock` writes two of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
# torch is taken by its version alone: its CPU and CUDA builds have other files under the same number
UNLOCKED = re.compile(r"torch|triton|cuda-|nvidia-")


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    found = (re.match(r"([a-z0-9][a-z0-9.-]*)==([^\s;\\]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def _named(requirements: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;@ ]", text)[0]).lower() for text in requirements}


def test_every_locked_version_is_that_of_the_constraints() -> None:
    constraints, locked = _pins("constraints.txt"), _pins("requirements.lock")
    assert len(locked) > 100
    assert {name: constraints.get(name) for name in locked} == locked


def test_every_locked_file_has_a_hash() -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text("utf-8"))
    assert [block for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


def test_every_dependency_is_pinned_and_all_but_torch_are_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    everything = _named(project["dependencies"] + [line for lines in extras.values() for line in lines])
    assert everything <= _pins("constraints.txt").keys()
    installed = _named(project["dependencies"] + extras["dev"])
    assert {name for name in installed if not UNLOCKED.match(name)} <= _pins("requirements.lock").keys()
