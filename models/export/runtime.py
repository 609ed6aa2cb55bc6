"""ONNX Runtime Web as it is on npm, packed in this package: an exported page carries it and needs no network.

`runtime/runtime.json` names the release, npm's integrity hash of its archive, and the SHA-512 of each file. Two builds:

- `wasm`: the processor, by WebAssembly with SIMD, one thread; runs in every browser.
- `jspi`: the same and WebGPU; needs a browser that has both WebGPU and WebAssembly's promise integration.

Each build is a module and a WebAssembly file, unchanged; files are compressed with xz.
`models/export/update_runtime.py` renews them. Licence: MIT (`runtime/LICENSE`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent / "runtime"
Build = Literal["wasm", "jspi"]
FILES: dict[Build, tuple[str, str]] = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "jspi": ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
"""Module and WebAssembly file of each build."""
_EXPORTS = re.compile(r"export\{([^}]*)\};")


@dataclass(frozen=True)
class Release:
    """The release that is packed."""

    version: str
    integrity: str
    """SHA-512 of npm's archive, as npm writes it."""
    files: dict[str, str]
    """Name of a file in `dist/` -> its SHA-512, base64 as in `integrity`."""


@cache
def release() -> Release:
    """Return which release is packed."""
    return Release(**json.loads((FOLDER / "runtime.json").read_text("utf-8")))


def runtime_file(name: str) -> bytes:
    """Return a file of the release; ValueError where it is not the pinned one."""
    data = lzma.decompress((FOLDER / f"{name}.xz").read_bytes())
    if integrity_of(data) != release().files[name]:
        raise ValueError(f"{name} is not that of onnxruntime-web {release().version}: install lampworks again")
    return data


def module_script(build: Build) -> str:
    """Return the module of a build for an inline script, which puts it into `globalThis.ort[build]`.

    Inline modules cannot be imported, so their exports become the fields of an object.
    """
    text = runtime_file(FILES[build][0]).decode("utf-8")
    found = _EXPORTS.findall(text)
    if len(found) != 1:
        raise ValueError(f"{FILES[build][0]}: expected one list of exports, found {len(found)}")
    fields = ",".join(f"{name}:{local}" for local, name in (pair.split(" as ") for pair in found[0].split(",")))
    text = _EXPORTS.sub(lambda _: f"(globalThis.ort??={{}}).{build}={{{fields}}};", text)
    # a browser's tools would look for the map beside the page
    return "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL"))


def integrity_of(data: bytes) -> str:
    """Return the SHA-512 of bytes as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
