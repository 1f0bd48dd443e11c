"""Edge features: what a DPA3 descriptor knows about each pair of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import ModelError
from mftscreen.model.acceleration import last_layer_complete
from mftscreen.model.backend import DeepmdNetwork
from mftscreen.model.batch import NeighborBudget, to_tensors
from mftscreen.model.graph import build_graph

__all__ = ["EdgeCutoffs", "edge_cutoffs", "edge_features"]


@dataclass(frozen=True)
class EdgeCutoffs:
    """How far a DPA3 descriptor sees.

    Attributes
    ----------
    edge : float
        Neighbours up to here (Å) have an edge.
    angle : float
        Edges up to here (Å) take part in angles.
    """

    edge: float
    angle: float


def edge_cutoffs(network: DeepmdNetwork) -> EdgeCutoffs:
    """Return the cutoffs of a network's edges.

    Parameters
    ----------
    network : DeepmdNetwork

    Returns
    -------
    EdgeCutoffs

    Raises
    ------
    ModelError
        If the descriptor is not a DPA3 that works on the neighbours there are
        (``use_dynamic_sel``).
    """
    repflows = _repflows(network)
    return EdgeCutoffs(float(repflows.e_rcut), float(repflows.a_rcut))


def edge_features(
    network: DeepmdNetwork, structures: Sequence[Atoms]
) -> list[NDArray[np.float64]]:
    """Return the edge features that deepmd-kit's descriptor returns.

    Parameters
    ----------
    network : DeepmdNetwork
    structures : sequence of Atoms
        At least one, evaluated together.

    Returns
    -------
    list of ndarray of shape (n_edges, n_edge_features)
        For each structure; rows as :func:`mftscreen.model.graph.sort_neighbors` with
        the edge cutoff orders them.

    Raises
    ------
    ModelError
        As :func:`edge_cutoffs`.

    Notes
    -----
    Energies and properties read edges up to the input of the last layer. Its own edge
    update, which is part of what is returned, has weights that such training leaves as
    they were initialised.
    """
    import torch

    repflows = _repflows(network)
    budget = NeighborBudget.of(network.descriptor)
    index = {symbol: i for i, symbol in enumerate(network.type_map)}
    graph = build_graph(
        structures, index, float(repflows.e_rcut), budget.angle_cutoff, budget.fixed
    )
    batch = to_tensors(graph, network.device)
    with torch.inference_mode(), budget.fit(graph), last_layer_complete(repflows):
        _, _, features, *_ = network.descriptor(
            batch.coordinates, batch.types, batch.neighbors, mapping=batch.owners
        )
    # deepmd-kit lists the edges of all frames without the padding
    ends = np.cumsum((graph.neighbors >= 0).sum(axis=(1, 2)))
    rows = features.cpu().numpy().astype(np.float64)
    return np.split(rows, ends[:-1])


def _repflows(network: DeepmdNetwork) -> Any:
    repflows = NeighborBudget.of(network.descriptor).repflows
    if repflows is None:
        msg = (
            f"the descriptor is a {type(network.descriptor).__name__}; edge features "
            "need a DPA3 descriptor with use_dynamic_sel"
        )
        raise ModelError(msg)
    return repflows
