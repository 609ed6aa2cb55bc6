"""The packed runtime is the one that npm published, and a changed byte is refused."""

import lzma
import re

import pytest

from models.export import runtime
from models.export.runtime import FILES, FOLDER, integrity_of, module_script, release, runtime_file


def test_every_packed_file_has_its_pinned_hash():
    pinned = release()
    assert set(pinned.files) == {name for pair in FILES.values() for name in pair}
    for name, integrity in pinned.files.items():
        assert integrity_of(runtime_file(name)) == integrity
    assert pinned.version == "1.30.0"
    # npm's hash of the whole archive
    assert pinned.integrity == (
        "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
    )
    assert "MIT License" in (FOLDER / "LICENSE").read_text("utf-8")


def test_the_packed_files_take_less_than_five_megabytes():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 5e6


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    name = FILES["wasm"][0]
    (tmp_path / f"{name}.xz").write_bytes(lzma.compress(runtime_file(name) + b" "))
    monkeypatch.setattr(runtime, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"ort\.wasm\.bundle\.min\.mjs is not that of onnxruntime-web 1\.30\.0"):
        runtime_file(name)


@pytest.mark.parametrize("build", ["wasm", "jspi"])
def test_a_module_becomes_an_inline_script(build):
    script = module_script(build)
    assert re.search(rf"\(globalThis\.ort\?\?=\{{\}}\)\.{build}=\{{.*InferenceSession:.*Tensor:.*\}};", script)
    # neither ends its script element early, nor looks for a file beside the page
    assert "</script" not in script
    assert "<!--" not in script
    assert "sourceMappingURL" not in script
