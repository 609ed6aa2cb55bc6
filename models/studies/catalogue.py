"""The studies that are lists of runs, by name; what each needs is imported when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from models.studies.study import Scope, Study


class Entry(NamedTuple):
    """A study that can be asked for."""

    open: Callable[[Scope], Study]
    summary: str
    """What it compares, in a line."""
    toy_cpu_minutes: float
    """CPU-minutes that it took at size `toy` with three seeds on an older processor (docs/studies.md)."""
    reads_clips: bool = False
    """Whether it reads the clips of a root; the others draw their own."""


def _curation(scope: Scope) -> Study:
    from models.studies.curation import CurationStudy

    return CurationStudy(scope)


def _scaling(scope: Scope) -> Study:
    from models.studies.scaling import ScalingStudy

    return ScalingStudy(scope)


def _tokenizers(scope: Scope) -> Study:
    from models.studies.tokenizers import TokenizerStudy

    return TokenizerStudy(scope)


def _lam_input(scope: Scope) -> Study:
    from models.studies.lam_input import LamInputStudy

    return LamInputStudy(scope)


def _injection(scope: Scope) -> Study:
    from models.studies.injection import InjectionStudy

    return InjectionStudy(scope)


def _decoding(scope: Scope) -> Study:
    from models.studies.decoding import DecodingStudy

    return DecodingStudy(scope)


STUDIES: dict[str, Entry] = {
    "curation": Entry(
        _curation, "Compare curated clips with as many random ones, and with all of them.", 25.0, reads_clips=True
    ),
    "scaling": Entry(_scaling, "Fit the loss against the size of the dynamics, and against its batch.", 11.0),
    "tokenizers": Entry(_tokenizers, "Compare ViT, C-ViViT and ST-ViViT, and the worlds trained on them.", 33.0),
    "lam-input": Entry(_lam_input, "Compare latent actions from pixels with those from tokens.", 13.0),
    "injection": Entry(_injection, "Compare the ways in which an action enters the dynamics.", 5.0),
    "decoding": Entry(_decoding, "Compare steps and orders of MaskGIT by quality and time.", 7.0),
}


def study_command(name: str, size: str, seeds: int, steps: int | None, on: str | None = None) -> str:
    """Return the command that repeats a study, without where its files go: a page names no folder of this machine."""
    parts = [f"lampworks study {name}"]
    parts += [f"--size {size}"] * (size != "toy") + [f"--seeds {seeds}"] * (seeds != 3)
    parts += [f"--steps {steps}"] * (steps is not None) + [f"--on {on}"] * bool(on)
    return " ".join([*parts, *["--root DIR"] * STUDIES[name].reads_clips])
