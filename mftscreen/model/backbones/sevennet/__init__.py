"""7net (SevenNet, doi:10.1021/acs.jctc.4c00190): equivariant messages, for crystals.

The pretrained weights come with the Python package sevenn, from which they are
converted once; what is made of them needs it no more.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mftscreen.model.backbones.seam import Architecture, EdgeCutoffs, NeighborBudget
from mftscreen.model.backbones.sevennet.allowed_parameters import SevenNetParameters
from mftscreen.model.backbones.sevennet.size import SevenNetSize
from mftscreen.model.files.branches import Domain

if TYPE_CHECKING:
    import torch

    from mftscreen.model.network.graph import FlatGraph

__all__ = ["SevenNet"]


class SevenNet(Architecture):
    """A network of SevenNet, as a descriptor of deepmd-kit."""

    kind = "sevennet"
    plugin = "mftscreen.model.backbones.sevennet.descriptor"
    gives_vectors = False
    package = "sevenn"
    allowed = SevenNetParameters
    converted: ClassVar[Mapping[str, Mapping[Domain, str]]] = {
        "7net-0": {"crystals": "MPtrj"},
        "7net-l3i5": {"crystals": "MPtrj"},
    }

    def convert(self, name: str) -> dict[str, Any]:
        """Return a model that comes with sevenn."""
        from mftscreen.model.backbones.sevennet.conversion import convert

        return convert(name)

    def size(self, parameters: Mapping[str, Any]) -> SevenNetSize:
        """Return its size."""
        return SevenNetSize.of(parameters)

    def cutoffs(self, parameters: Mapping[str, Any]) -> EdgeCutoffs:
        """Return how far it sees; it has no angles of its own."""
        return SevenNetSize.of(parameters).cutoffs

    def fit_parameters(
        self, parameters: Mapping[str, Any], neighbors: tuple[int, int]
    ) -> dict[str, Any]:
        """Return it with other padding."""
        return {**copy.deepcopy(dict(parameters)), "sel": max(1, neighbors[0])}

    def layer(self, weight: str) -> int:
        """Return the layer of a weight, -1 for embeddings."""
        layer = re.search(r"\.descriptor\.network\.layers\.(\d+)\.", weight)
        return int(layer[1]) if layer else -1

    def inference(
        self, descriptor: torch.nn.Module
    ) -> Callable[[FlatGraph], torch.Tensor] | None:
        """Return its network, which needs no padding."""
        from mftscreen.model.backbones.sevennet.inference import features_of_graph

        return features_of_graph(descriptor)

    def neighbor_budget(self, descriptor: torch.nn.Module) -> NeighborBudget:
        """Return that of all neighbours there are."""
        return NeighborBudget(None)
