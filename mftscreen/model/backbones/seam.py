"""What is asked of a kind of backbones, and how one answers that has no module here."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import UnsupportedByBackboneError
from mftscreen.head_forms import STANDARD
from mftscreen.model.files.branches import Domain

if TYPE_CHECKING:
    import numpy as np
    import torch

    from mftscreen.model.files.parameters import DescriptorParameters
    from mftscreen.model.network.batch import Batch
    from mftscreen.model.network.graph import FlatGraph, NeighborGraph

__all__ = ["Architecture", "EdgeCutoffs", "NeighborBudget", "Size"]


@dataclass(frozen=True)
class EdgeCutoffs:
    """How far a descriptor with edges and angles sees.

    Attributes
    ----------
    edge : float
        Neighbours up to here (Å) have an edge.
    angle : float
        Edges up to here (Å) take part in angles.
    """

    edge: float
    angle: float


@dataclass(frozen=True)
class NeighborBudget:
    """How many neighbours a descriptor wants to be given.

    Attributes
    ----------
    fixed : int or None
        As many nearest neighbours for every atom, padded to that; None for all there
        are.
    angle_cutoff : float
        In Å; neighbours within it are counted apart.
    """

    fixed: int | None
    angle_cutoff: float = 0.0

    def fit(self, graph: NeighborGraph) -> AbstractContextManager[None]:
        """Size the descriptor's padding for one batch, as long as the context lasts."""
        return nullcontext()


class Size(Protocol):
    """What a descriptor with random weights is made of; chosen in a configuration."""

    @property
    def type(self) -> str: ...  # noqa: D102

    @property
    def cutoffs(self) -> EdgeCutoffs: ...  # noqa: D102

    def parameters(self, neighbors: tuple[int, int], seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of the descriptor.

        Parameters
        ----------
        neighbors : tuple of int
            Most neighbours of an atom within the edge and within the angle cutoff.
        seed : int
        """

    def energy_net(self, seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of an energy head with random weights.

        Parameters
        ----------
        seed : int
        """


class Architecture:
    """A kind of descriptors. What is not overridden is left to deepmd-kit, or refused.

    Parameters
    ----------
    kind : str, optional
        deepmd-kit's type of the descriptor; a subclass has its own.

    Attributes
    ----------
    aliases : tuple of str
        Other names that deepmd-kit has for `kind`.
    models, energy_nets : tuple of str
        deepmd-kit's names for the type of models in which each atom contributes by
        itself, and of their energy heads' nets; the first is written.
    gives_vectors : bool
        Whether equivariant features come with those of atoms.
    allowed : type of DescriptorParameters or None
        What a model file may say of such a descriptor; None if it may have none.
    pretrained : mapping of str to mapping
        Models with weights that can be downloaded: deepmd-kit's name of each, and its
        head for each kind of structure.
    converted : mapping of str to mapping
        The same of models whose weights come with a Python package, from which
        :meth:`convert` takes them.
    package : str or None
        That package.
    plugin : str or None
        Module that registers the descriptor with deepmd-kit, if that has none.
    """

    kind: str = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[tuple[str, ...]] = (STANDARD,)
    energy_nets: ClassVar[tuple[str, ...]] = ("ener",)
    gives_vectors: ClassVar[bool] = True
    allowed: ClassVar[type[DescriptorParameters] | None] = None
    pretrained: ClassVar[Mapping[str, Mapping[Domain, str]]] = {}
    converted: ClassVar[Mapping[str, Mapping[Domain, str]]] = {}
    package: ClassVar[str | None] = None
    plugin: ClassVar[str | None] = None

    def __init__(self, kind: str | None = None) -> None:
        if kind is not None:
            self.kind = kind

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return all names that deepmd-kit has for this kind."""
        return (cls.kind, *cls.aliases)

    def convert(self, name: str) -> dict[str, Any]:
        """Return the state of a model in :attr:`converted`, as deepmd-kit has states.

        Raises
        ------
        ModelError
            If the package is not installed; the message says how to install it.
        """
        raise NotImplementedError

    # of deepmd-kit's parameters

    def size(self, parameters: Mapping[str, Any]) -> Size:
        """Return the size of a descriptor, to make one with random weights.

        Raises
        ------
        UnsupportedByBackboneError
            If no descriptors of this kind are made from nothing.
        """
        raise UnsupportedByBackboneError(self.kind, "training from scratch")

    def cutoffs(self, parameters: Mapping[str, Any]) -> EdgeCutoffs:
        """Return how far neighbours are counted for :meth:`fit_parameters`."""
        return EdgeCutoffs(edge=6.0, angle=4.0)  # which nothing here uses

    def fit_parameters(
        self, parameters: Mapping[str, Any], neighbors: tuple[int, int]
    ) -> dict[str, Any]:
        """Return the parameters of the same descriptor, padded for the data at hand.

        Parameters
        ----------
        parameters : mapping
            Of a pretrained descriptor.
        neighbors : tuple of int
            Most neighbours of an atom within :meth:`cutoffs`.
        """
        return copy.deepcopy(dict(parameters))

    def fit_state(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a checkpoint's state for what :meth:`fit_parameters` has returned."""
        return dict(state)

    def layer(self, weight: str) -> int:
        """Return the layer of the descriptor that a weight belongs to.

        Parameters
        ----------
        weight : str
            deepmd-kit's name of a weight of the descriptor.

        Returns
        -------
        int
            From 0 up, -1 for what lies below all layers.
        """
        layer = re.search(
            r"\.descriptor\.(?!type_embedding).*\.layers\.(\d+)\.", weight
        )
        return int(layer[1]) if layer else -1

    # of deepmd-kit's modules

    def accelerate(self, model: torch.nn.Module, *, atoms_only: bool = True) -> None:
        """Replace slow parts of a model, by others that give the same up to rounding.

        Parameters
        ----------
        model : torch.nn.Module
            deepmd-kit's. Weights and their names stay.
        atoms_only : bool, default True
            Whether nothing but atomic features is read outside of :meth:`whole`.
        """

    def whole(self, descriptor: torch.nn.Module) -> AbstractContextManager[None]:
        """Let an accelerated descriptor give equivariant features, too."""
        return nullcontext()

    def inference(
        self, descriptor: torch.nn.Module
    ) -> Callable[[FlatGraph], torch.Tensor] | None:
        """Return what gives atomic features without gradients, faster; None if nothing.

        Its result is of shape (n_atoms, n_features).
        """
        return None

    def features(
        self,
        descriptor: torch.nn.Module,
        batch: Batch,
        conditions: Mapping[str, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what deepmd-kit's descriptor gives for a batch.

        Parameters
        ----------
        descriptor : torch.nn.Module
        batch : Batch
        conditions : mapping of str to Tensor
            What else there is to tell the descriptor, by the name of its argument.

        Returns
        -------
        nodes : Tensor of shape (n_frames, n_local, n_features)
        vectors : Tensor of shape (n_frames, n_local, n_edge_features, 3)
            Equivariant features; of no use unless :attr:`gives_vectors`.
        """
        nodes, vectors, *_ = descriptor(
            batch.coordinates,
            batch.types,
            batch.neighbors,
            mapping=batch.owners,
            **conditions,
        )
        return nodes, vectors

    def neighbor_budget(self, descriptor: torch.nn.Module) -> NeighborBudget:
        """Return how many neighbours the descriptor wants to be given."""
        of_module: Any = descriptor
        return NeighborBudget(int(sum(of_module.get_sel())))

    def edge_cutoffs(self, descriptor: torch.nn.Module) -> EdgeCutoffs:
        """Return how far the edges of a descriptor reach.

        Raises
        ------
        UnsupportedByBackboneError
            If it has none that can be looked at.
        """
        raise UnsupportedByBackboneError(self.kind, "edge features")

    def edge_features(
        self,
        descriptor: torch.nn.Module,
        structures: Sequence[Atoms],
        type_index: Mapping[str, int],
        device: torch.device,
    ) -> list[NDArray[np.float64]]:
        """Return the edge features of structures that are evaluated together.

        Parameters
        ----------
        descriptor : torch.nn.Module
        structures : sequence of Atoms
            At least one.
        type_index : mapping of str to int
            Position of each chemical symbol in the type map.
        device : torch.device

        Returns
        -------
        list of ndarray of shape (n_edges, n_edge_features)
            For each structure; rows as
            :func:`mftscreen.model.network.graph.sort_neighbors` with the edge cutoff
            orders them.

        Raises
        ------
        UnsupportedByBackboneError
            As :meth:`edge_cutoffs`.
        """
        raise UnsupportedByBackboneError(self.kind, "edge features")
