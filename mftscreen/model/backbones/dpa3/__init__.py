"""DPA3 (arXiv:2506.01686): messages on the graphs of atoms and edges, with angles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import UnsupportedByBackboneError
from mftscreen.model.backbones.dpa3.allowed_parameters import DPA3Parameters
from mftscreen.model.backbones.dpa3.budget import (
    DynamicBudget,
    fit_parameters,
    fit_state,
)
from mftscreen.model.backbones.dpa3.size import DPA3Size
from mftscreen.model.backbones.seam import Architecture, EdgeCutoffs, NeighborBudget
from mftscreen.model.files.branches import Domain

if TYPE_CHECKING:
    import numpy as np
    import torch

    from mftscreen.model.network.graph import FlatGraph

__all__ = ["DPA3"]


class DPA3(Architecture):
    """deepmd-kit's ``dpa3``."""

    kind = "dpa3"
    allowed = DPA3Parameters
    # each head is that of the largest data set for its kind of structure
    pretrained: ClassVar[Mapping[str, Mapping[Domain, str]]] = {
        "DPA-3.1-3M": {"crystals": "OMat24", "molecules": "SPICE2"},
        "DPA-3.2-5M": {"crystals": "OMat24", "molecules": "OMol25"},
        "DPA-3.3-1M": {"crystals": "OMat24", "molecules": "OMol25"},
        # of one task, to which deepmd-kit gives this name
        "DPA3-Omol-Large": {"molecules": "Default"},
    }

    def size(self, parameters: Mapping[str, Any]) -> DPA3Size:
        """Return its size."""
        return DPA3Size.of(parameters)

    def cutoffs(self, parameters: Mapping[str, Any]) -> EdgeCutoffs:
        """Return how far it sees."""
        repflow = parameters["repflow"]
        # deepmd-kit's own defaults
        return EdgeCutoffs(repflow.get("e_rcut", 6.0), repflow.get("a_rcut", 4.0))

    def fit_parameters(
        self, parameters: Mapping[str, Any], neighbors: tuple[int, int]
    ) -> dict[str, Any]:
        """Return it with other padding."""
        return fit_parameters(parameters, neighbors)

    def fit_state(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the state with other padding."""
        return fit_state(state, parameters)

    def accelerate(self, model: torch.nn.Module, *, atoms_only: bool = True) -> None:
        """Replace linear layers on angles and edges, and the activation."""
        from mftscreen.model.backbones.dpa3.acceleration import accelerate

        accelerate(model, atoms_only=atoms_only)

    def whole(self, descriptor: torch.nn.Module) -> AbstractContextManager[None]:
        """Let the last layer update edges and angles, too."""
        from mftscreen.model.backbones.dpa3.acceleration import last_layer_complete

        return last_layer_complete(descriptor.repflows)

    def inference(
        self, descriptor: torch.nn.Module
    ) -> Callable[[FlatGraph], torch.Tensor] | None:
        """Return the compiled loops, if they can take its place."""
        from mftscreen.model.backbones.dpa3.inference import DPA3Inference, supports

        return DPA3Inference(descriptor) if supports(descriptor) else None

    def neighbor_budget(self, descriptor: torch.nn.Module) -> NeighborBudget:
        """Return that of all neighbours there are, or else the full selection."""
        dynamic = DynamicBudget.of(descriptor)
        return super().neighbor_budget(descriptor) if dynamic is None else dynamic

    def edge_cutoffs(self, descriptor: torch.nn.Module) -> EdgeCutoffs:
        """Return how far its edges reach."""
        repflows = self._dynamic(descriptor).repflows
        return EdgeCutoffs(float(repflows.e_rcut), float(repflows.a_rcut))

    def edge_features(
        self,
        descriptor: torch.nn.Module,
        structures: Sequence[Atoms],
        type_index: Mapping[str, int],
        device: torch.device,
    ) -> list[NDArray[np.float64]]:
        """Return what deepmd-kit's descriptor returns for each edge."""
        from mftscreen.model.backbones.dpa3.edges import edge_features

        budget = self._dynamic(descriptor)
        return edge_features(descriptor, budget, structures, type_index, device)

    def _dynamic(self, descriptor: torch.nn.Module) -> DynamicBudget:
        budget = DynamicBudget.of(descriptor)
        if budget is None:
            what = "edge features without use_dynamic_sel"
            raise UnsupportedByBackboneError(self.kind, what)
        return budget
