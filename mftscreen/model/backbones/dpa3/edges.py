"""Edge features: what a DPA3 descriptor knows about each pair of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.model.backbones.dpa3.acceleration import last_layer_complete
from mftscreen.model.backbones.dpa3.budget import DynamicBudget
from mftscreen.model.network.batch import to_tensors
from mftscreen.model.network.graph import build_graph

if TYPE_CHECKING:
    import torch

__all__ = ["edge_features"]


def edge_features(
    descriptor: Any,
    budget: DynamicBudget,
    structures: Sequence[Atoms],
    type_index: Mapping[str, int],
    device: torch.device,
) -> list[NDArray[np.float64]]:
    """Return the edge features that deepmd-kit's descriptor returns.

    Parameters
    ----------
    descriptor : torch.nn.Module
    budget : DynamicBudget
        Its budget.
    structures : sequence of Atoms
        At least one, evaluated together.
    type_index : mapping of str to int
        Position of each chemical symbol in the type map.
    device : torch.device

    Returns
    -------
    list of ndarray of shape (n_edges, n_edge_features)
        For each structure; rows as :func:`mftscreen.model.network.graph.sort_neighbors`
        with the edge cutoff orders them.

    Notes
    -----
    Energies and properties read edges up to the input of the last layer. Its own edge
    update, which is part of what is returned, has weights that such training leaves as
    they were initialised.
    """
    import torch

    cutoff = float(budget.repflows.e_rcut)
    graph = build_graph(structures, type_index, cutoff, budget.angle_cutoff)
    batch = to_tensors(graph, device)
    whole = last_layer_complete(budget.repflows)
    with torch.no_grad(), budget.fit(graph), whole:
        _, _, features, *_ = descriptor(
            batch.coordinates, batch.types, batch.neighbors, mapping=batch.owners
        )
    # deepmd-kit lists the edges of all frames without the padding
    ends = np.cumsum((graph.neighbors >= 0).sum(axis=(1, 2)))
    rows = features.cpu().numpy().astype(np.float64)
    return np.split(rows, ends[:-1])
