"""The three networks of a world model, with their sizes and the codebook rows of latent actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute


class WorldNetworks:
    """Tokenizer, latent action model and dynamics on one device, in evaluation mode."""

    def __init__(
        self,
        tokenizer: VideoTokenizer,
        latent_actions: LatentActionModel,
        dynamics: Dynamics,
        *,
        compute: Compute,
        model_id: str = "",
        tokenizer_id: str = "",
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Move three networks to the device of the compute, and put them into evaluation mode.

        Args:
            tokenizer: pixels to tokens and back.
            latent_actions: transitions to latent actions.
            dynamics: tokens and latent actions to the next tokens.
            compute: device and dtype.
            model_id: id of the published world model.
            tokenizer_id: id of the published tokenizer.
            metrics: the published metrics of the world model.
        """
        self.tokenizer = tokenizer.to(compute.device).eval()
        self.latent_actions = latent_actions.to(compute.device).eval()
        self.dynamics = dynamics.to(compute.device).eval()
        self.compute, self.model_id, self.tokenizer_id = compute, model_id, tokenizer_id
        self.metrics = metrics or {}

    @property
    def num_actions(self) -> int:
        """Number of latent actions."""
        return self.latent_actions.config.num_actions

    @property
    def num_tokens(self) -> int:
        """Number of tokens per frame."""
        return self.tokenizer.num_tokens

    @property
    def context(self) -> int:
        """Number of frames that the dynamics attends to at once, the new one included."""
        return self.dynamics.config.context

    @property
    def decoder_window(self) -> int:
        """Number of frames that the tokenizer's decoder sees at once, the newest included."""
        return self.tokenizer.config.window

    def rows_of(self, latent_actions: Tensor) -> Tensor:
        """Return the codebook rows (..., L) of latent actions (...), on this world's device.

        Raises:
            ValueError: a latent action is out of range.
        """
        if (
            latent_actions.numel()
            and not 0 <= int(latent_actions.min()) <= int(latent_actions.max()) < self.num_actions
        ):
            raise ValueError(f"latent actions must lie in 0..{self.num_actions - 1}")
        return self.latent_actions.quantizer.lookup(latent_actions.to(self.compute.device))
