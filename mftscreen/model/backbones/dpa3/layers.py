"""One layer of DPA3 without gradients; see the module ``inference`` beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mftscreen.model.backbones.dpa3.kernels import (
    SiLUT,
    activate,
    pass_along_angles,
    pass_along_edges,
)
from mftscreen.model.network.graph import FlatGraph

__all__ = ["Layer", "State"]

WORK_PER_THREAD = 20_000
"""In angles: some milliseconds, so that it does not matter what a thread costs."""


@dataclass
class State:
    """A batch between two layers.

    Attributes
    ----------
    graph : FlatGraph
    angle_starts : ndarray of shape (n_atoms + 1,)
        Where the angles of each atom begin.
    weights : ndarray of shape (n_edges, 4)
        Of an edge in the message and in the moments (x, y, z) of its centre.
    angle_weights : ndarray of shape (n_near,)
        Of an angle they are products of those of its edges.
    nodes, edges, angles : Tensor of shape (n_atoms or n_edges or n_angles, n_features)
        Before the first layer, the one feature of an angle is its scaled cosine.
    silut : tuple of float32
        The activation.
    """

    graph: FlatGraph
    angle_starts: NDArray[np.int64]
    weights: NDArray[np.float32]
    angle_weights: NDArray[np.float32]
    nodes: torch.Tensor
    edges: torch.Tensor
    angles: torch.Tensor
    silut: SiLUT

    def run(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run a kernel on all atoms, shared out among torch's threads, or fewer."""
        n_atoms = self.graph.n_atoms
        arrays = [a.numpy() if isinstance(a, torch.Tensor) else a for a in arguments]
        # an atom's edges cost about as much as so many angles
        work = self.angle_starts + 100 * np.arange(n_atoms + 1)
        n_threads = min(torch.get_num_threads(), 1 + int(work[-1]) // WORK_PER_THREAD)
        if n_threads == 1:
            kernel(0, n_atoms, *arrays)
            return
        shares = work[-1] * np.arange(1, n_threads) / n_threads
        bounds = [0, *np.searchsorted(work, shares).tolist(), n_atoms]
        with ThreadPoolExecutor(n_threads - 1) as pool:
            others = [
                pool.submit(kernel, *bound, *arrays) for bound in pairwise(bounds[1:])
            ]
            kernel(*bounds[:2], *arrays)
            for other in others:
                other.result()


class Layer:
    """The weights of a layer, as the products that are left use them.

    Parameters
    ----------
    layer : torch.nn.Module
        deepmd-kit's.
    embedding : Tensor of shape (1, n_angle_features), optional
        What makes features of the cosines; for the first layer.
    updates_edges, updates_angles : bool
        Whether the layers that follow use them.
    """

    def __init__(
        self,
        layer: Any,
        embedding: torch.Tensor | None,
        *,
        updates_edges: bool,
        updates_angles: bool,
    ) -> None:
        self._own, self._symmetry = layer.node_self_mlp, layer.node_sym_linear
        self._node_residuals = list(layer.n_residual)
        maps = [layer.node_edge_linear]
        self._edge_residual = torch.empty(0)
        self._angle_part = None
        if updates_edges:
            maps.append(layer.edge_self_linear)
            self._edge_residual = layer.e_residual[0]
            self._angle_part = _AnglePart(layer, embedding, updates_angles)
        matrix, bias = _side_by_side(maps)
        center, other, self._edge_matrix = torch.split(
            matrix, [layer.n_dim, layer.n_dim, layer.e_dim]
        )
        # an atom's features as those of a centre, and as those of a neighbour
        self._atom_matrix = torch.cat([center, other], dim=1)
        self._atom_bias = torch.cat([bias, torch.zeros_like(bias)])

    def __call__(self, state: State) -> None:
        """Replace or update the features of a batch."""
        nodes, edges = state.nodes, state.edges
        messages = torch.zeros_like(nodes)
        products = torch.empty(len(nodes), len(self._symmetry.matrix))
        # all sums are made of the features from before the layer
        if self._angle_part is not None:
            near, far = self._angle_part(state)
        state.run(
            pass_along_edges,
            state.graph.starts,
            state.graph.others,
            state.weights,
            nodes,
            edges,
            torch.addmm(self._atom_bias, nodes, self._atom_matrix),
            self._edge_matrix,
            self._edge_residual,
            state.silut,
            messages,
            products,
        )
        if self._angle_part is not None:
            edges[: len(near)] += near
            edges[len(near) :] += far
        own = _apply(self._own, nodes, state.silut)
        symmetric = _apply(self._symmetry, products, state.silut)
        terms = zip(self._node_residuals, (own, symmetric, messages), strict=True)
        state.nodes = nodes + sum(residual * term for residual, term in terms)


class _AnglePart:
    """The messages from angles to edges, and the angles' update."""

    def __init__(
        self, layer: Any, embedding: torch.Tensor | None, updates_angles: bool
    ) -> None:
        maps = [layer.edge_angle_linear1]
        self._residual = torch.empty(0)
        if updates_angles:
            maps.append(layer.angle_self_linear)
            self._residual = layer.a_residual[0]
        matrix, self._bias = _side_by_side(maps)
        n_node, n_edge = layer.n_a_compress_dim, layer.e_a_compress_dim
        angle, center, second, first = torch.split(
            matrix, [layer.a_dim, n_node, n_edge, n_edge]
        )
        self._embedding = embedding
        self._angle_matrix = angle if embedding is None else embedding @ angle
        self._atom_matrix = _compression(layer, "n") @ center
        edge_compression = _compression(layer, "e")
        self._edge_matrix = edge_compression @ torch.cat([first, second], dim=1)
        self._edge_map = layer.edge_angle_linear2
        self._edge_residual = layer.e_residual[1]

    def __call__(self, state: State) -> tuple[torch.Tensor, torch.Tensor]:
        """Update the angles; return what edges within and beyond the cutoff gain."""
        near = state.edges[: state.graph.n_near]
        centers = torch.from_numpy(state.graph.centers[: len(near)])
        at_atoms = torch.addmm(self._bias, state.nodes, self._atom_matrix)
        at_edges = near @ self._edge_matrix
        at_edges[:, : len(self._bias)] += at_atoms[centers]
        messages = torch.zeros_like(near)
        inputs = state.angles
        if self._embedding is not None and len(self._residual):
            state.angles = inputs * self._embedding
        state.run(
            pass_along_angles,
            state.graph.starts,
            state.angle_starts,
            state.angle_weights,
            inputs,
            state.angles,
            at_edges,
            self._angle_matrix,
            self._residual,
            state.silut,
            messages,
        )
        updates = [
            self._edge_residual * _apply(self._edge_map, sums, state.silut)
            for sums in (messages, torch.zeros(1, near.shape[1]))
        ]
        return updates[0], updates[1]


def _side_by_side(maps: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrix and the bias of several linear maps of the same input."""
    matrix = torch.cat([each.matrix for each in maps], dim=1)
    return matrix, torch.cat([each.bias for each in maps])


def _compression(layer: Any, kind: str) -> torch.Tensor:
    """Return the matrix by which features enter angles, of atoms (n) or edges (e)."""
    linear = getattr(layer, f"a_compress_{kind}_linear")
    if linear is not None:
        return torch.as_tensor(linear.matrix)
    # the first features, or all of them
    return torch.eye(
        getattr(layer, f"{kind}_dim"), getattr(layer, f"{kind}_a_compress_dim")
    )


def _apply(linear: Any, x: torch.Tensor, silut: SiLUT) -> torch.Tensor:
    """Return the activation of a linear map of `x` (n, n_in)."""
    y = torch.addmm(linear.bias, x, linear.matrix)
    activate(y.view(-1).numpy(), silut)
    return y
