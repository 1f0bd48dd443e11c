"""The features of 7net without gradients, on lists without padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mftscreen.model.backbones.sevennet.convolution import Edges
from mftscreen.model.network.graph import FlatGraph

__all__ = ["features_of_graph"]


def features_of_graph(descriptor: Any) -> Callable[[FlatGraph], torch.Tensor] | None:
    """Return what gives a descriptor's features of a graph; None in double precision.

    Parameters
    ----------
    descriptor : SevenNetDescriptor

    Returns
    -------
    callable or None
        From a :class:`FlatGraph` to a Tensor of shape (n_atoms, n_features).
    """
    if descriptor.precision != torch.float32:
        return None  # that of the vectors of a graph
    device = descriptor.network.embedding.device

    @torch.inference_mode()
    def features(graph: FlatGraph) -> torch.Tensor:
        types, vectors, centers, others = (
            torch.from_numpy(array).to(device)
            for array in (graph.types, graph.vectors, graph.centers, graph.others)
        )
        edges = Edges(centers, others, graph.n_atoms)
        found: torch.Tensor = descriptor.features(types, vectors, edges)
        return found

    return features
