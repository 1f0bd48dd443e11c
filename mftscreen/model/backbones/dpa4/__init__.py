"""DPA4, or SeZM (arXiv:2606.02419): equivariant messages along edges.

deepmd-kit has a model of its own for it, which hands the descriptor lists of edges.
Edges have no features but of their length and their elements: atoms learn, edges do
not.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mftscreen.model.backbones.dpa4.allowed_parameters import DPA4Parameters
from mftscreen.model.backbones.dpa4.size import DPA4Size
from mftscreen.model.backbones.seam import Architecture, EdgeCutoffs, NeighborBudget
from mftscreen.model.files.branches import Domain

if TYPE_CHECKING:
    import torch

    from mftscreen.model.network.batch import Batch

__all__ = ["DPA4"]

ABOVE_ALL_BLOCKS = 1000


class DPA4(Architecture):
    """deepmd-kit's ``dpa4``."""

    kind = "dpa4"
    aliases = ("DPA4", "sezm", "SeZM")
    models = ("dpa4", "DPA4", "sezm", "SeZM")
    energy_nets = ("dpa4_ener", "sezm_ener")
    allowed = DPA4Parameters
    gives_vectors = False
    # of one task, to which deepmd-kit gives this name
    pretrained: ClassVar[Mapping[str, Mapping[Domain, str]]] = {
        f"DPA4-{size}-OMat24-v20260805": {"crystals": "Default"}
        for size in ("Nano", "Mini", "Neo", "Air", "Plus")
    }

    def size(self, parameters: Mapping[str, Any]) -> DPA4Size:
        """Return its size."""
        return DPA4Size.of(parameters)

    def cutoffs(self, parameters: Mapping[str, Any]) -> EdgeCutoffs:
        """Return how far it sees."""
        return self.size(parameters).cutoffs

    def fit_parameters(
        self, parameters: Mapping[str, Any], neighbors: tuple[int, int]
    ) -> dict[str, Any]:
        """Return it with room for all neighbours, which does not enter the numbers."""
        fitted: dict[str, Any] = copy.deepcopy(dict(parameters))
        fitted["sel"] = neighbors[0]
        return fitted

    def layer(self, weight: str) -> int:
        """Return the block that a weight belongs to; the read-out is above all."""
        if block := re.search(r"\.descriptor\.blocks\.(\d+)\.", weight):
            return int(block[1])
        read_out = re.search(r"\.descriptor\.(readout_|output_ffn|final_)", weight)
        return ABOVE_ALL_BLOCKS if read_out else -1

    def features(
        self,
        descriptor: torch.nn.Module,
        batch: Batch,
        conditions: Mapping[str, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what deepmd-kit's descriptor gives for the edges of a batch."""
        from mftscreen.model.backbones.dpa4.edges import list_edges

        n_local = batch.real.shape[1]
        nodes, nothing, *_ = descriptor(
            batch.coordinates[:, :n_local],
            batch.types[:, :n_local],
            None,
            **list_edges(batch),
            **conditions,
        )
        return nodes, nothing

    def neighbor_budget(self, descriptor: torch.nn.Module) -> NeighborBudget:
        """Return that of all neighbours there are."""
        return NeighborBudget(None)
