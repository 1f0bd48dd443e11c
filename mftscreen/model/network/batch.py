"""Mixed batches on the way into a descriptor and out of it: tensors, derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ase import Atoms

from mftscreen.model.network.graph import NeighborGraph

if TYPE_CHECKING:
    import torch

__all__ = [
    "Batch",
    "add_derivatives",
    "to_tensors",
]


@dataclass(frozen=True)
class Batch:
    """A graph as tensors.

    Attributes
    ----------
    coordinates : Tensor of shape (n_frames, n_slots, 3)
    types, owners : Tensor of shape (n_frames, n_slots)
    neighbors : Tensor of shape (n_frames, n_local, n_neighbors)
    real : Tensor of shape (n_frames, n_local)
        True for atoms, False for padding.
    """

    coordinates: torch.Tensor
    types: torch.Tensor
    neighbors: torch.Tensor
    owners: torch.Tensor
    real: torch.Tensor


def to_tensors(graph: NeighborGraph, device: torch.device) -> Batch:
    """Return a graph on a device."""
    import torch

    types = torch.as_tensor(graph.types, device=device)
    return Batch(
        coordinates=torch.as_tensor(graph.coordinates, device=device),
        # padding takes part in no sum; it only needs some valid type
        types=types.clamp(min=0),
        neighbors=torch.as_tensor(graph.neighbors, device=device),
        owners=torch.as_tensor(graph.owners, device=device),
        real=types[:, : graph.n_local] >= 0,
    )


def add_derivatives(
    energies: torch.Tensor,
    batch: Batch,
    structures: Sequence[Atoms],
    parts: list[dict[str, Any]],
) -> None:
    """Add forces, and the virial as the sum over all images of force ⊗ position.

    The energy depends on differences of positions only, so the sum over own atoms
    and images is the strain derivative whatever the cell is.
    """
    import torch

    (gradient,) = torch.autograd.grad(energies.sum(), batch.coordinates)
    forces = torch.zeros_like(gradient)
    forces.index_put_(
        (
            torch.arange(len(structures), device=gradient.device)[:, None],
            batch.owners,
        ),
        -gradient,
        accumulate=True,
    )
    positions = batch.coordinates.detach()
    virials = -torch.einsum("fni,fnj->fij", positions, gradient)
    # the energy is invariant to rotation, so that only rounding is asymmetric
    virials = (virials + virials.transpose(1, 2)) / 2
    for i, atoms in enumerate(structures):
        parts[i]["forces"] = forces[i, : len(atoms)].cpu().numpy()
        parts[i]["virial"] = virials[i].cpu().numpy()
