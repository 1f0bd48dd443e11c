"""One pass of structures through a descriptor, by the fastest way there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ase import Atoms

from mftscreen.model.backbones.seam import Architecture
from mftscreen.model.network.batch import Batch, to_tensors
from mftscreen.model.network.graph import FlatGraph, build_flat_graph, build_graph

if TYPE_CHECKING:
    import torch

__all__ = ["DescriptorPass", "Features", "PaddedFeatures"]


@dataclass(frozen=True)
class PaddedFeatures:
    """What deepmd-kit's own descriptor gives.

    Attributes
    ----------
    batch : Batch
    nodes : Tensor of shape (n_frames, n_local, n_features)
    rotation : Tensor of shape (n_frames, n_local, n_edge_features, 3)
        Equivariant features.
    """

    batch: Batch
    nodes: torch.Tensor
    rotation: torch.Tensor


@dataclass(frozen=True)
class Features:
    """Features of all atoms, one structure after the other.

    Attributes
    ----------
    nodes : Tensor of shape (n_atoms, n_features)
    types : Tensor of shape (n_atoms,)
        Index into the type map.
    padded : PaddedFeatures or None
        None where the fast inference was enough.
    """

    nodes: torch.Tensor
    types: torch.Tensor
    padded: PaddedFeatures | None


class DescriptorPass:
    """The descriptor of a model, ready to evaluate structures together.

    Parameters
    ----------
    model : torch.nn.Module
        deepmd-kit's atomic model.
    architecture : Architecture
        Of its descriptor.
    type_index : mapping of str to int
        Position of each chemical symbol in the type map.
    device : torch.device
    """

    def __init__(
        self,
        model: Any,
        architecture: Architecture,
        type_index: Mapping[str, int],
        device: torch.device,
    ) -> None:
        self.model = model
        self.architecture = architecture
        self.type_index = type_index
        self.device = device

    def __call__(
        self,
        structures: Sequence[Atoms],
        *,
        differentiate: bool = False,
        padded: bool = False,
        directed: bool = False,
    ) -> Features:
        """Return the features of structures.

        Parameters
        ----------
        structures : sequence of Atoms
            At least one.
        differentiate : bool
            Whether they will be differentiated by the coordinates of the batch.
        padded : bool
            Whether features are needed frame by frame, padded to one size.
        directed : bool
            Whether equivariant features are among them.

        Returns
        -------
        Features
        """
        import torch

        descriptor = self.model.descriptor
        budget = self.architecture.neighbor_budget(descriptor)
        cutoffs = float(self.model.get_rcut()), budget.angle_cutoff
        inference = None if differentiate or padded else self._inference
        if inference is not None:
            flat = build_flat_graph(structures, self.type_index, *cutoffs)
            types = torch.from_numpy(flat.types).to(self.device)
            return Features(inference(flat), types, None)
        graph = build_graph(structures, self.type_index, *cutoffs, budget.fixed)
        batch = to_tensors(graph, self.device)
        batch.coordinates.requires_grad_(differentiate)
        whole = self.architecture.whole(descriptor) if directed else nullcontext()
        with budget.fit(graph), whole:
            nodes, rotation = self.architecture.features(
                descriptor, batch, self._charge_and_spin(len(structures))
            )
        types = batch.types[:, : graph.n_local]
        frames = PaddedFeatures(batch, nodes, rotation)
        return Features(nodes[batch.real], types[batch.real], frames)

    @cached_property
    def _inference(self) -> Callable[[FlatGraph], torch.Tensor] | None:
        """What evaluates the descriptor faster; None if nothing does."""
        return self.architecture.inference(self.model.descriptor)

    def _charge_and_spin(self, n_frames: int) -> dict[str, torch.Tensor]:
        """Return the descriptor's default charge and spin, if it knows of any."""
        if not self.model.has_chg_spin_ebd():
            return {}
        default = self.model.get_default_chg_spin()
        return {"charge_spin": default.to(self.device).expand(n_frames, -1)}
