"""Layer-wise learning rates, as parameter groups of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

__all__ = ["layer_groups"]


def layer_groups(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    decay: float,
    layer_of: Callable[[str], int],
) -> list[dict[str, Any]]:
    """Return an optimizer's parameter groups for layer-wise learning rates.

    Parameters
    ----------
    named_parameters : iterable of (str, Parameter)
        With deepmd-kit's names.
    decay : float
        Factor on the learning rate from the heads to the last layer of the descriptor,
        from each layer to the one below, and to the embeddings.
    layer_of : callable
        :meth:`~mftscreen.model.backbones.seam.Architecture.layer` of a weight's name.

    Returns
    -------
    list of dict
        From the heads down; ``layer_scale`` is the product of the factors.
    """
    layers: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in named_parameters:
        depth = float(layer_of(name)) if ".descriptor." in name else math.inf
        layers.setdefault(depth, []).append(parameter)
    # deepmd-kit displays the first group's learning rate
    return [
        {"params": layers[depth], "layer_scale": decay**k}
        for k, depth in enumerate(sorted(layers, reverse=True))
    ]
