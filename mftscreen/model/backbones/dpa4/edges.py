"""A batch as deepmd-kit's DPA4 wants it for energies: as a list of edges.

Given neighbours instead, its descriptor takes differences of coordinates that it has
rounded, and leaves layers out for a batch in which no atom has a neighbour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from mftscreen.model.network.batch import Batch

__all__ = ["list_edges"]

N_DUMMIES = 2
"""Edges that do not count; deepmd-kit has as many, so that there always are some."""


def list_edges(batch: Batch) -> dict[str, torch.Tensor]:
    """Return the edges of a batch as arguments of deepmd-kit's descriptor.

    Parameters
    ----------
    batch : Batch

    Returns
    -------
    dict of str to Tensor
        ``edge_index`` of shape (2, n_edges), from neighbour to centre, which count the
        slots for atoms of all frames; ``edge_vec`` of shape (n_edges, 3) in Å, which
        can be differentiated by the batch's coordinates; ``edge_mask`` of shape
        (n_edges,).
    """
    import torch

    n_local, n_slots = batch.real.shape[1], batch.owners.shape[1]
    frames, centers, ranks = torch.nonzero(batch.neighbors >= 0, as_tuple=True)
    slots = batch.neighbors[frames, centers, ranks]
    positions = batch.coordinates.reshape(-1, 3)
    first = frames * n_slots  # slot of each frame
    vectors = positions[first + slots] - positions[first + centers]
    edges = frames * n_local + torch.stack([batch.owners[frames, slots], centers])
    pad: Any = torch.nn.functional.pad
    return {
        "edge_index": pad(edges, (0, N_DUMMIES)),
        "edge_vec": pad(vectors, (0, 0, 0, N_DUMMIES)),
        "edge_mask": pad(torch.ones_like(centers, dtype=torch.bool), (0, N_DUMMIES)),
    }
