"""Presets with narrow networks, and places to train them, for tests of what a training needs."""

import dataclasses

import torch

from models.runtime.compute import Compute
from pipeline.config import preset
from pipeline.training_size.parameters import FrameSize

GPU = Compute(torch.device("cuda"), torch.bfloat16, "test")
CPU = Compute(torch.device("cpu"), torch.float32, "test")
SQUARE, WIDE = FrameSize(64, 64), FrameSize(90, 160)
CHECKED = preset("demo").training
KINDS = ("video_tokenizer", "world_model")


def small(stack, d_model=48):
    return dataclasses.replace(
        stack, layers=2, d_model=d_model, heads=2, head_dim=16, kv_heads=1 if stack.kv_heads == 1 else 2
    )


def narrow(name, **sections):
    """A preset with narrow stacks, and changed settings by section."""
    config = preset(name)
    changed = {
        "tokenizer": {"encoder": small(config.tokenizer.encoder), "decoder": small(config.tokenizer.decoder)},
        "latent_actions": {
            "encoder": small(config.latent_actions.encoder), "decoder": small(config.latent_actions.decoder),
        },
        "dynamics": {"stack": small(config.dynamics.stack)},
    }  # fmt: skip
    return dataclasses.replace(
        config,
        **{
            section: dataclasses.replace(getattr(config, section), **values, **sections.get(section, {}))
            for section, values in changed.items()
        },
    )


VARIANTS = {
    "coinrun": narrow("coinrun"),
    "demo": narrow("demo"),
    "c_vivit, tokens, prepend": narrow(
        "coinrun", tokenizer={"architecture": "c_vivit", "window": 4}, latent_actions={"input": "tokens"},
        dynamics={"action_injection": "prepend", "context": 4},
    ),
    "vit, fsq, pieces, film": narrow(
        "coinrun", tokenizer={"architecture": "vit", "quantizer": "fsq", "latent_dim": 5},
        latent_actions={"pooling": "difference", "window": 6}, dynamics={"action_injection": "film"},
    ),
}  # fmt: skip
