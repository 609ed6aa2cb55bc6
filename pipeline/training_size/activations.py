"""Memory that a training step keeps for its backward pass, by formula, for each window of a batch.

What is counted: the inputs of products, norms and activation functions, and what attention keeps. Small things (means
and variances, masks) are not. A test compares the formula with what torch keeps.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.config import Config
from pipeline.config.world import StackConfig
from pipeline.training_size.parameters import FrameSize, stack_of

LOGITS_AT_ONCE = 1 << 25
"""Logits, or distances to codes, that a thread holds at a time (`models.networks.logits`); 134 MB in fp32."""
_FP32 = 4
_TIMES_HELD = 4
"""How often logits are held in fp32 in their backward pass, and distances beside what they are made of."""


class Products(NamedTuple):
    """How products are computed."""

    item: int
    """Bytes of a number in them: 2 in bf16, else 4."""
    keeps_scores: bool
    """Whether attention keeps its scores: in bf16 on a CPU it does (`models.networks.attention`)."""


class Kept(NamedTuple):
    """Bytes of a window."""

    forward: int
    """Kept until the backward pass reaches them."""
    passing: int
    """The largest part that is needed for a moment on top."""
    logits: int = 0
    """Logits, or distances to codes (a number, not bytes), which are held for a moment."""
    beside_logits: int = 0
    """What of `forward` is there at that moment."""

    def peak(self, windows: int, pieces: int = 1) -> int:
        """Return what so many windows need, in so many threads, each of which holds `LOGITS_AT_ONCE` at most."""
        held = _FP32 * _TIMES_HELD * min(windows * self.logits, pieces * LOGITS_AT_ONCE)
        return max(windows * (self.forward + self.passing), windows * self.beside_logits + held)


def tokenizer_activations(config: Config, size: FrameSize, products: Products, checkpointed: bool) -> Kept:
    """Return what a window of the tokenizer's training needs."""
    section, tokens = config.tokenizer, size.tokens(config.tokenizer.patch)
    positions, values = section.window * tokens, 3 * section.patch**2
    encoder, decoder = (
        _stack(stack_of(section, part), section.window, tokens, products, checkpointed)
        for part in ("encoder", "decoder")
    )
    ends = positions * ((2 * products.item + 3 * _FP32) * values + 6 * _FP32 * section.latent_dim)
    forward, passing = encoder.forward + decoder.forward + ends, max(encoder.passing, decoder.passing)
    # codes are searched while the decoder keeps nothing yet
    distances = positions * section.codebook_size if section.quantizer == "vq" else 0
    return Kept(forward, passing, distances, encoder.forward + ends)


def latent_action_activations(config: Config, size: FrameSize, products: Products, checkpointed: bool) -> Kept:
    """Return what a window of the LAM's training needs."""
    section, context = config.latent_actions, config.dynamics.context
    pairs, reads_tokens = section.pooling == "antisymmetric", section.input == "tokens"
    tokens = size.tokens(config.tokenizer.patch if reads_tokens else section.patch)
    values = config.tokenizer.codebook_size if reads_tokens else 3 * section.patch**2
    seen, steps = section.window or context, context - 1
    windows = steps // (seen - 1)
    # a pair is read twice, as one frame of both
    encoder_windows, encoder_frames = (2 * steps, 1) if pairs else (windows, seen)
    encoder = _stack(section.encoder, encoder_frames, tokens, products, checkpointed)
    decoder = _stack(section.decoder, seen - 1, tokens, products, checkpointed)
    if reads_tokens:
        ends = tokens * steps * values * _FP32
    else:
        # what is read, what is drawn, and what it is compared with
        read = (products.item + _FP32) * (4 * steps if pairs else seen * windows)
        ends = tokens * values * (read + steps * (products.item + 3 * _FP32))
    forward = encoder_windows * encoder.forward + windows * decoder.forward + ends
    passing = max(encoder_windows * encoder.passing, windows * decoder.passing, 2 * steps * tokens * values * _FP32)
    return Kept(forward, passing)


def dynamics_activations(config: Config, size: FrameSize, products: Products, checkpointed: bool) -> Kept:
    """Return what a window of the dynamics' training needs."""
    section, codes = config.dynamics, config.tokenizer.codebook_size
    tokens, d = size.tokens(config.tokenizer.patch), section.stack.d_model
    positions = section.context * tokens
    with_action = tokens + (section.action_injection == "prepend")
    kept = _stack(section.stack, section.context, with_action, products, checkpointed)
    forward = kept.forward + positions * d * (2 * _FP32 + products.item)
    # logits are those of masked tokens: of all but the first frame, in a step that masks every one
    return Kept(forward, kept.passing, (section.context - 1) * tokens * codes, forward)


def _stack(stack: StackConfig, frames: int, tokens: int, products: Products, checkpointed: bool) -> Kept:
    """Return what the blocks of a stack need for one window."""
    d, inner, item = stack.d_model, int(stack.d_model * stack.ffw_multiple), products.item
    positions, queries, keys = frames * tokens, stack.heads * stack.head_dim, stack.kv_heads * stack.head_dim
    block = _FP32 * d + item * (d + 2 * inner)
    attended = [frames * tokens] if stack.spacetime_attention else [tokens]
    attended += [frames] * stack.temporal_attention
    for number, seen in enumerate(attended):
        turned = (number > 0 and stack.temporal_positions == "rotary") or stack.spacetime_attention
        # the input and its normalised copy; queries, keys and values in one; the heads' output, as it comes and mixed
        block += _FP32 * d + item * (d + 3 * queries + 2 * keys)
        block += (_FP32 if stack.qk_norm else 0) * (queries + keys) + item * turned * (queries + keys)
        if products.keeps_scores:
            block += stack.heads * seen * item + item * queries
    block += _FP32 * d * {"none": 0, "frame": 1, "causal": 2}[stack.depthwise_conv]
    block *= positions
    # gradients of a block: of its widest layer, its input, and of the scores
    scores = max(attended) * stack.heads * 2 * _FP32 if products.keeps_scores else 0
    passing = positions * max(_FP32 * (2 * inner + 3 * d), scores)
    if checkpointed:
        return Kept(stack.layers * positions * d * _FP32, passing + block)
    return Kept(stack.layers * block, passing)
