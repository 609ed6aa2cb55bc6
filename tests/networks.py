"""Networks of tests: small ones whose parts all do something."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)
OUTPUTS = ("out.weight", "ffw.2")
"""Parts of parameters' names: the last weights of attention and feed-forward, 0 in a fresh network."""


def randomize(network: Network, std: float, also: tuple[str, ...] = ()) -> Network:
    """Draw the weights that a fresh network leaves at 0, so that each of its parts adds something.

    Args:
        network: changed in place, and returned.
        std: standard deviation of the weights, drawn from torch's own generator.
        also: parts of the names of further parameters to draw.
    """
    for name, parameter in network.named_parameters():
        if any(part in name for part in (*OUTPUTS, *also)):
            nn.init.normal_(parameter, std=std)
    return network
