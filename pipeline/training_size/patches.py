"""How square patches lie on frames: a frame that they do not cover exactly is padded, as the paper's 160x90 is."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.config import Config
from pipeline.training_size.parameters import FrameSize, Kind


class PatchFit(NamedTuple):
    """What a training does with frames of a size."""

    padded: tuple[str, ...]
    """Which patches do not divide the frames, how these are padded, and which patches would; a line each."""
    refusal: str
    """Why it cannot train on them, and what to set; "" where it can."""


def fit_patches(config: Config, kind: Kind, size: FrameSize) -> PatchFit:
    """Return how the patches of what is trained lie on frames of a size."""
    patches = {"tokenizer.patch": config.tokenizer.patch}
    if kind == "world_model":
        # the tokenizer is trained already
        patches = {"latent_actions.patch": config.latent_actions.patch}
        patches = patches if config.latent_actions.input == "pixels" else {}
    frames = f"frames of {size.width}x{size.height} pixels"
    dividing = [side for side in range(1, min(size) + 1) if not size.height % side and not size.width % side]
    padded = []
    for name, patch in patches.items():
        if patch > min(size):
            least = max((side for side in dividing if side <= 16), default=1)
            return PatchFit((), f"{name} = {patch} is larger than {frames}: set it to {least}, which divides them")
        height, width = (-(-side // patch) * patch for side in size)
        if (height, width) != size:
            fitting = ", ".join(str(side) for side in dividing if 1 < side <= 2 * patch) or "none"
            padded.append(
                f"{frames} are padded to {width}x{height} at the bottom and right, which {name} = {patch} divides "
                f"(patches that divide them as they are: {fitting})"
            )
    return PatchFit(tuple(padded), "")
