"""A world's two played networks as ONNX graphs: one frame after cached frames, with the cache as inputs and outputs.

    dynamics_graph(world)   # a frame's tokens and the action that leads to it -> logits
    decoder_graph(world)    # a frame's tokens -> its pixels

The graphs are traced from the networks themselves, so that they compute what the server computes. A graph changes
nothing: a caller that wants to keep a frame passes the returned cache on, as `past_...` of the next frame. The place
of the frame, its slot in the cache and what it may attend to are inputs; `models/networks/frame_cache.py` says how
they follow from the number of frames (`Places`), and the page computes them.

Inputs (those that a network does not use are left out):
    tokens (P) int32; `mask_id` where a token is masked
    action (1) int32: a latent action, or `num_actions` for the first frame of a window (dynamics only)
    cosines, sines (1, C): angles of the frame's place in time
    slot (1) int32; lags (1, W) int32; hidden (1, W) fp32
    past_keys, past_values (blocks, N, G, W, S, C); past_inputs (blocks, 1, tokens, D): the cache
Outputs: logits (P, K) fp32 or pixels (H, W, 3) uint8; keys, values and inputs: the cache with this frame.

Shapes: P tokens of a frame, K codes, C head size, W frames of the cache, G key heads, D width; N and S as in
`BlockPast`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import onnx
import torch
from torch import Tensor, nn

from models.networks.frame_cache import BlockPast, Places
from models.networks.tokenizer import VideoTokenizer
from models.networks.transformer import STTransformer
from models.world.networks import WorldNetworks
from pipeline.config.world import StackConfig
from pipeline.training_size.parameters import stack_of

_STATE = ("keys", "values", "inputs")


class _TracedPast(BlockPast):
    """The cache of a block whose new states are returned and not written in place."""

    def join(self, k_NGSC: Tensor, v_NGSC: Tensor, places: Places, *, turned: bool) -> tuple[Tensor, Tensor]:
        """Return all slots' keys and values, those of the new frame in its slot."""
        assert self.keys is not None
        assert self.values is not None
        here_W11 = (torch.arange(self.room) == places.slots_T)[:, None, None]
        self.keys = torch.where(here_W11, k_NGSC.unflatten(2, (1, -1)), self.keys)
        self.values = torch.where(here_W11, v_NGSC.unflatten(2, (1, -1)), self.values)
        return self.keys.flatten(2, 3), self.values.flatten(2, 3)

    def input(self, x_BTPD: Tensor, keep: bool) -> Tensor:
        """Return the block's input at the frame before, and hold that of this one."""
        assert self.before_BPD is not None
        before, self.before_BPD = self.before_BPD, x_BTPD[:, -1]
        return before


class _Stack(nn.Module):
    """A stack of blocks on one frame (1, 1, P, D), as a pure function of the frame, its place and the cache."""

    def __init__(self, transformer: STTransformer, config: StackConfig, context: int) -> None:
        super().__init__()
        self.transformer, self.config, self.context = transformer, config, context
        self.tokens = transformer.positions.shape[0]

    def state(self) -> dict[str, Tensor]:
        """Return an empty cache, by the names of its tensors."""
        config, layers = self.config, self.config.layers
        state: dict[str, Tensor] = {}
        if config.temporal_attention or config.spacetime_attention:
            sequences, each = (1, self.tokens) if config.spacetime_attention else (self.tokens, 1)
            shape = (layers, sequences, config.kv_heads, self.context, each, config.head_dim)
            state |= {"keys": torch.zeros(shape), "values": torch.zeros(shape)}
        if config.depthwise_conv == "causal":
            state["inputs"] = torch.zeros(layers, 1, self.tokens, config.d_model)
        return state

    def forward(self, x_11PD: Tensor, places: Places, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the residual stream, and the cache with this frame."""
        pasts = [
            _TracedPast(
                self.context,
                keys=state["keys"][layer] if "keys" in state else None,
                values=state["values"][layer] if "values" in state else None,
                before_BPD=state["inputs"][layer] if "inputs" in state else None,
            )
            for layer in range(self.config.layers)
        ]
        x_11PD = x_11PD + self.transformer.positions
        for block, past in zip(self.transformer.blocks, pasts, strict=True):
            x_11PD = block(x_11PD, self.transformer.grid, past, places)
        of = {"keys": "keys", "values": "values", "inputs": "before_BPD"}
        return x_11PD, {name: torch.stack([getattr(past, of[name]) for past in pasts]) for name in state}


class _Played(nn.Module):
    """What both graphs share: flat inputs in, the frame's result and the cache out."""

    def __init__(self, stack: _Stack) -> None:
        super().__init__()
        self.stack, self.names = stack, tuple(stack.state())

    def frame(self, x_11PD: Tensor, place: tuple[Tensor, ...], past: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """Return the residual stream of one frame, and the cache."""
        cosines, sines, slot, lags, hidden = place
        places = Places(cosines, sines, slot.long(), lags.long(), hidden)
        x_11PD, state = self.stack(x_11PD, places, dict(zip(self.names, past, strict=True)))
        return x_11PD, [state[name] for name in self.names]


class _PlayedDynamics(_Played):
    """Tokens of a frame and the latent action that leads to it, to logits."""

    actions: Tensor
    """What each latent action adds, (A + 1, 1, D): the last row stands for no action."""

    def __init__(self, world: WorldNetworks) -> None:
        dynamics = world.dynamics
        super().__init__(_Stack(dynamics.transformer, dynamics.config.stack, world.context))
        self.dynamics = dynamics
        rows = world.latent_actions.quantizer.rows()[None].float()
        known, none = dynamics.embedded_actions(rows, False), dynamics.embedded_actions(rows[:, :0], True)
        self.register_buffer("actions", torch.cat([known, none], 1)[0].clone())

    def forward(self, tokens: Tensor, action: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return the logits (P, K), and the cache."""
        dynamics = self.dynamics
        x_11PD = dynamics.conditioned(dynamics.embed(tokens.long())[None, None], self.actions[action.long()][None])
        x_11PD, state = self.frame(x_11PD, rest[:5], rest[5:])
        if dynamics.config.action_injection == "prepend":
            x_11PD = x_11PD[:, :, 1:]
        return dynamics.head(dynamics.norm(x_11PD))[0, 0], *state


class _PlayedDecoder(_Played):
    """Tokens of a frame to its pixels."""

    codes: Tensor
    """The rows of the codebook (K, L)."""

    def __init__(self, tokenizer: VideoTokenizer) -> None:
        config = tokenizer.config
        super().__init__(_Stack(tokenizer.decoder, stack_of(config, "decoder"), config.window))
        self.tokenizer = tokenizer
        self.register_buffer("codes", tokenizer.quantizer.rows().float().clone())

    def forward(self, tokens: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return the pixels (H, W, 3), uint8, and the cache."""
        tokenizer = self.tokenizer
        x_11PD, state = self.frame(tokenizer.post(self.codes[tokens.long()])[None, None], rest[:5], rest[5:])
        return (tokenizer.pixels(x_11PD)[0, 0].clamp(0, 1) * 255).round().to(torch.uint8), *state


def dynamics_graph(world: WorldNetworks) -> onnx.ModelProto:
    """Return the graph of the dynamics, fp32."""
    played = _PlayedDynamics(world)
    given = {"tokens": torch.zeros(world.num_tokens, dtype=torch.int32), "action": torch.zeros(1, dtype=torch.int32)}
    return _export(played, given, "logits")


def decoder_graph(world: WorldNetworks) -> onnx.ModelProto:
    """Return the graph of the tokenizer's decoder, fp32."""
    given = {"tokens": torch.zeros(world.num_tokens, dtype=torch.int32)}
    return _export(_PlayedDecoder(world.tokenizer), given, "pixels")


def _export(played: _Played, given: dict[str, Tensor], result: str) -> onnx.ModelProto:
    stack, state = played.stack, played.stack.state()
    size, room = stack.config.head_dim, stack.context
    inputs = given | {
        "cosines": torch.ones(1, size),
        "sines": torch.zeros(1, size),
        "slot": torch.zeros(1, dtype=torch.int32),
        "lags": torch.zeros(1, room, dtype=torch.int32),
        "hidden": torch.zeros(1, room),
        **{f"past_{name}": tensor for name, tensor in state.items()},
    }

    def traced() -> onnx.ModelProto:
        program = torch.onnx.export(
            played.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[result, *state],
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        return program.model_proto

    return _quietly(traced)


def _quietly(make: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    """Return what a function makes, without the exporter's remarks about other packages and its own future."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return make()
    finally:
        log.setLevel(level)
