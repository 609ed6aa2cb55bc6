"""The three networks of a world and what all that drive them ask: sizes, context, rows of the actions' codebook."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute


class WorldNetworks:
    """Tokenizer, latent action model and dynamics that were trained together, on one device in evaluation mode."""

    def __init__(
        self,
        tokenizer: VideoTokenizer,
        latent_actions: LatentActionModel,
        dynamics: Dynamics,
        *,
        compute: Compute,
        model_id: str = "",
        tokenizer_id: str = "",
        figures: dict[str, Any] | None = None,
    ) -> None:
        """Take three networks over: they are moved to the compute's device and put into evaluation mode."""
        self.tokenizer = tokenizer.to(compute.device).eval()
        self.latent_actions = latent_actions.to(compute.device).eval()
        self.dynamics = dynamics.to(compute.device).eval()
        self.compute, self.model_id, self.tokenizer_id = compute, model_id, tokenizer_id
        self.figures = figures or {}

    @property
    def num_actions(self) -> int:
        """Latent actions to choose from."""
        return self.latent_actions.config.num_actions

    @property
    def num_tokens(self) -> int:
        """Tokens of a frame."""
        return self.tokenizer.num_tokens

    @property
    def context(self) -> int:
        """Frames that the dynamics sees at once, the one being drawn included."""
        return self.dynamics.config.context

    def rows_of(self, latent_actions: Tensor) -> Tensor:
        """Return the codebook's rows (..., L) of latent actions, on this world's device.

        Raises:
            ValueError: there is no such latent action.
        """
        if (
            latent_actions.numel()
            and not 0 <= int(latent_actions.min()) <= int(latent_actions.max()) < self.num_actions
        ):
            raise ValueError(f"latent actions must lie in 0..{self.num_actions - 1}")
        return self.latent_actions.quantizer.lookup(latent_actions.to(self.compute.device))
