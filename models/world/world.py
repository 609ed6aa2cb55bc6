"""Use a trained world model: encode and decode video, infer latent actions, generate new frames.

    world = load_world(store, config)                     # the configured world model
    tokens_BTP = world.encode(video_BTHWC)                # uint8 in
    actions_BA = world.infer_actions(video_BTHWC)         # T - 1 transitions
    tokens_BTP = world.generate(tokens_BTP[:, :1], actions_BA, sampling=SamplingConfig(), generator=noise)
    video_BTHWC = world.decode(tokens_BTP)                # uint8 out

Latent action a_t is the change from frame t to frame t + 1. Videos and token sequences may be longer than the windows
of the networks. The window then slides: each frame is computed together with the frames before it in its window.

Shapes: B videos, T frames, H W C pixels, P tokens of a frame, A latent actions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from models.world.networks import WorldNetworks
from models.world.session import Session, session_bytes
from models.world.signals import read_signals
from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import UserError

_FRAMES_AT_ONCE = 320


class WorldModel(WorldNetworks):
    """A tokenizer, a latent action model and a dynamics model that were trained together."""

    @property
    def session_bytes(self) -> int:
        """Size in bytes of the full caches of one rollout of a session."""
        return session_bytes(self)

    @torch.inference_mode()
    def encode(self, video_BTHWC: Tensor) -> Tensor:
        """Return the tokens (B, T, P), int64, of a video (B, T, H, W, 3), uint8 or float in [0, 1].

        Raises:
            ValueError: the video has another size, channels, dtype or range of values than this world was trained on.
        """
        return self._sliding(self.tokenizer.encode, self._checked_video(video_BTHWC), self.tokenizer.config.window)

    @torch.inference_mode()
    def decode(self, tokens_BTP: Tensor) -> Tensor:
        """Return the video (B, T, H, W, 3), uint8, of tokens (B, T, P); ValueError for tokens of another world."""
        self._check_tokens(tokens_BTP)

        def pixels(tokens: Tensor) -> Tensor:
            return (self.tokenizer.decode(tokens) * 255).round().to(torch.uint8)

        return self._sliding(pixels, tokens_BTP, self.tokenizer.config.window)

    @torch.inference_mode()
    def infer_actions(self, video_BTHWC: Tensor) -> Tensor:
        """Return the latent actions (B, T - 1), int64, of a video as of `encode`; entry t leads from frame t to t + 1.

        Raises:
            ValueError: as of `encode`, or the video has only one frame.
            UserError: true actions lead this world, and no LAM has learned to infer them.
        """
        return self._inferred(self.latent_actions.encode, video_BTHWC)

    @torch.inference_mode()
    def infer_action_vectors(self, video_BTHWC: Tensor) -> Tensor:
        """Return the latents (B, T - 1, L), fp32, that `infer_actions` quantizes; errors as of `infer_actions`."""
        return self._inferred(self.latent_actions.latents, video_BTHWC)

    @torch.inference_mode()
    def begin(self, prompt_tokens_BTP: Tensor, latent_actions_BA: Tensor, *, sampling: SamplingConfig) -> Session:
        """Return a session that continues a prompt frame by frame.

        Args:
            prompt_tokens_BTP: tokens of T0 >= 1 frames.
            latent_actions_BA: the T0 - 1 latent actions between them.
            sampling: how new frames are sampled, and how frames past the window are treated.

        Raises:
            ValueError: the tokens are none of this world, the number of actions does not fit the prompt, or there is
                no such action.
        """
        self._check_tokens(prompt_tokens_BTP)
        tokens = prompt_tokens_BTP.to(self.compute.device)
        if latent_actions_BA.shape[1] != tokens.shape[1] - 1:
            raise ValueError(
                f"a prompt of {tokens.shape[1]} frames needs {tokens.shape[1] - 1} latent actions between them, not "
                f"{latent_actions_BA.shape[1]}"
            )
        return Session(self, tokens, self.rows_of(latent_actions_BA), sampling)

    def generate(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the tokens (B, A + 1, P) of the prompt and of the new frames.

        Args:
            prompt_tokens_BTP: tokens of T0 >= 1 frames.
            latent_actions_BA: A >= T0 latent actions. The first T0 - 1 lie between the frames of the prompt; each of
                the others leads to a new frame.
            sampling: how new frames are sampled.
            generator: random generator of the noise, on this world's device; the same seed gives the same frames.

        Raises:
            ValueError: there are too few actions for a new frame.
        """
        frames = [tokens for _, tokens in self._frames(prompt_tokens_BTP, latent_actions_BA, sampling, generator)]
        return torch.cat([prompt_tokens_BTP.to(self.compute.device), torch.stack(frames, 1)], 1)

    def play(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the new frames of `generate` (B, S, H, W, 3), uint8, decoded one by one as in a game."""
        frames = self._frames(prompt_tokens_BTP, latent_actions_BA, sampling, generator)
        return torch.stack([session.pixels() for session, _ in frames], 1)

    def watch(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the new frames of `play`, and the features of doubt (B, S, F) of each (`models.world.signals`)."""
        frames, features, path = [], [], None
        for session, _ in self._frames(prompt_tokens_BTP, latent_actions_BA, sampling, generator):
            frames.append(session.pixels())
            path = read_signals(session, path)
            features.append(torch.from_numpy(path.features()))
        return torch.stack(frames, 1), torch.stack(features, 1)

    def _frames(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        sampling: SamplingConfig,
        generator: torch.Generator | None,
    ) -> Iterator[tuple[Session, Tensor]]:
        given = prompt_tokens_BTP.shape[1]
        if latent_actions_BA.shape[1] < given:
            raise ValueError(
                f"{latent_actions_BA.shape[1]} latent actions lead to no new frame after a prompt of {given} frames"
            )
        session = self.begin(prompt_tokens_BTP, latent_actions_BA[:, : given - 1], sampling=sampling)
        for actions_B in latent_actions_BA[:, given - 1 :].unbind(1):
            yield session, session.step(actions_B, generator)

    def _inferred(self, function: Callable[[Tensor], Tensor], video_BTHWC: Tensor) -> Tensor:
        if self.dynamics.config.led_by == "true_actions":
            raise UserError(
                f"world {self.model_id} is led by true actions, and cannot infer them from video: read them from the "
                "recording, or take a world with dynamics.led_by: latent_actions"
            )
        video_BTHWC = self._checked_video(video_BTHWC)
        if video_BTHWC.shape[1] < 2:
            raise ValueError("a latent action leads from one frame to the next: the video has only one frame")
        frames = self.encode(video_BTHWC) if self.latent_actions.reads_tokens else video_BTHWC
        return self._sliding(function, frames, self.latent_actions.window, lost=1)

    def _checked_video(self, video_BTHWC: Tensor) -> Tensor:
        """Return a video in a dtype that the networks read; ValueError unless they were made for such a video."""
        shape, height, width = tuple(video_BTHWC.shape), self.tokenizer.height, self.tokenizer.width
        wanted = f"this world takes videos (B, T, {height}, {width}, 3)"
        if len(shape) != 5:
            raise ValueError(f"{wanted}, not a tensor of {len(shape)} dimensions {shape}")
        if 0 in shape[:2]:
            raise ValueError(f"{wanted} of at least one frame, not {shape}")
        if shape[4] != 3 and shape[2] == 3:
            raise ValueError(f"{wanted}, not {shape}: put the channels last, `video.permute(0, 1, 3, 4, 2)`")
        if shape[4] != 3:
            raise ValueError(f"{wanted}: the last dimension is red, green and blue, not {shape[4]} channels")
        if shape[2:4] != (height, width):
            raise ValueError(f"{wanted}, not frames of {shape[3]}x{shape[2]} pixels: resize them to {width}x{height}")
        if video_BTHWC.dtype == torch.uint8:
            return video_BTHWC
        if not video_BTHWC.is_floating_point():
            raise ValueError(f"{wanted} as uint8 or as float in [0, 1], not as {video_BTHWC.dtype}")
        low, high = (float(value) for value in video_BTHWC.aminmax())
        if not (low >= 0 and high <= 1):
            what = "values that are not finite" if not low - high <= 0 else f"values from {low:g} to {high:g}"
            raise ValueError(f"{wanted} as uint8 or as float in [0, 1], not with {what}")
        return video_BTHWC.to(self.tokenizer.embed.weight.dtype)

    def _check_tokens(self, tokens_BTP: Tensor) -> None:
        """Raise a ValueError unless tokens are ones that `encode` could return."""
        codes, shape = self.tokenizer.quantizer.num_codes, tuple(tokens_BTP.shape)
        wanted = f"this world takes tokens (B, T, {self.num_tokens}), int64, from 0 to {codes - 1}"
        if len(shape) != 3 or shape[2] != self.num_tokens or 0 in shape:
            raise ValueError(f"{wanted}, not a tensor {shape}")
        if tokens_BTP.dtype != torch.int64:
            raise ValueError(f"{wanted}, not {tokens_BTP.dtype}")
        low, high = (int(value) for value in tokens_BTP.aminmax())
        if low < 0 or high >= codes:
            raise ValueError(f"{wanted}, not from {low} to {high}")

    def _sliding(self, function: Callable[[Tensor], Tensor], x_BT: Tensor, window: int, lost: int = 0) -> Tensor:
        """Apply a causal function to every frame together with the `window - 1` frames before it.

        The first window is computed at once; each later frame is the last one of its own window. `lost` is the number
        of frames by which the result of the function is shorter than its window.
        """
        x_BT = x_BT.to(self.compute.device)
        total = x_BT.shape[1]
        with self.compute.autocast():
            parts = [function(x_BT[:, :window])]
            for start in range(1, total - window + 1, chunk := max(1, _FRAMES_AT_ONCE // (window * len(x_BT)))):
                count = min(chunk, total - window + 1 - start)
                windows = torch.stack([x_BT[:, start + i : start + i + window] for i in range(count)], 1)
                result = function(windows.flatten(0, 1))[:, window - 1 - lost]
                parts.append(result.unflatten(0, (len(x_BT), count)))
        return torch.cat(parts, 1)
