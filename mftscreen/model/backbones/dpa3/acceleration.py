"""The same DPA3 numbers with fewer passes over memory.

A small descriptor is bound by memory traffic over angles and edges, not by arithmetic.
deepmd-kit gathers every term of a linear layer to the length of the angle list and adds
them there; here terms that depend on an edge alone are added at the length of the edge
list first, and the matrix product adds into its input. Its activation takes many passes
(:mod:`mftscreen.model.backbones.dpa3.activation`). And it updates edges and angles in
the last layer, which most heads do not read: energies and properties are functions of
the atoms' features, all but the dipole moment, made of vectors along the edges.

This is for training, gradients, GPUs and float64; without them, the whole descriptor is
replaced (:mod:`mftscreen.model.backbones.dpa3.inference`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch

from mftscreen.model.backbones.dpa3.activation import FusedSiLUT
from mftscreen.model.backbones.dpa3.budget import by_turns

__all__ = ["accelerate", "last_layer_complete"]


def _angle_update(
    self: Any,
    flat_angle_ebd: torch.Tensor,
    node_ebd: torch.Tensor,
    flat_edge_ebd: torch.Tensor,
    n2a_index: torch.Tensor,
    eij2a_index: torch.Tensor,
    eik2a_index: torch.Tensor,
    feat: str = "edge",
) -> torch.Tensor:
    """Replace ``RepFlowLayer.optim_angle_update_dynamic``: (n_angles, n_out)."""
    linear = self.edge_angle_linear1 if feat == "edge" else self.angle_self_linear
    n_edge, n_node = flat_edge_ebd.shape[-1], node_ebd.shape[-1]
    angle, node, edge_ik, edge_ij = torch.split(
        linear.matrix, [flat_angle_ebd.shape[-1], n_node, n_edge, n_edge]
    )
    # the centre of an angle is the centre of its first edge
    centers = n2a_index.new_zeros(len(flat_edge_ebd))
    centers[eij2a_index] = n2a_index
    at_nodes = torch.addmm(linear.bias, node_ebd.reshape(-1, n_node), node)
    first = torch.addmm(at_nodes.index_select(0, centers), flat_edge_ebd, edge_ij)
    second = flat_edge_ebd @ edge_ik
    result = torch.addmm(first.index_select(0, eij2a_index), flat_angle_ebd, angle)
    return result.add_(second.index_select(0, eik2a_index))


def _edge_update(
    self: Any,
    node_ebd: torch.Tensor,
    node_ebd_ext: torch.Tensor,
    flat_edge_ebd: torch.Tensor,
    n2e_index: torch.Tensor,
    n_ext2e_index: torch.Tensor,
    feat: str = "node",
) -> torch.Tensor:
    """Replace ``RepFlowLayer.optim_edge_update_dynamic``: (n_edges, n_out)."""
    linear = self.node_edge_linear if feat == "node" else self.edge_self_linear
    n_node = node_ebd.shape[-1]
    node, other, edge = torch.split(
        linear.matrix, [n_node, n_node, flat_edge_ebd.shape[-1]]
    )
    at_centers = torch.addmm(linear.bias, node_ebd.reshape(-1, n_node), node)
    at_others = node_ebd_ext.reshape(-1, n_node) @ other
    result = torch.addmm(at_centers.index_select(0, n2e_index), flat_edge_ebd, edge)
    return result.add_(at_others.index_select(0, n_ext2e_index))


def _no_edge_update(
    self: Any,
    node_ebd: torch.Tensor,
    node_ebd_ext: torch.Tensor,
    edge_ebd: torch.Tensor,
    *_: Any,
) -> torch.Tensor:
    """Replace ``RepFlowLayer._compute_edge_self_update`` of the last layer."""
    return edge_ebd


def _update_nodes_only(
    self: Any, update_list: list[torch.Tensor], update_name: str = "node"
) -> torch.Tensor:
    """Replace ``RepFlowLayer.list_update`` of the last layer."""
    if update_name != "node":
        return update_list[0]
    updated: torch.Tensor = type(self).list_update(self, update_list, update_name)
    return updated


def accelerate(model: Any, *, atoms_only: bool = True) -> None:
    """Replace the slow parts of a deepmd-kit DPA3 model; others are left as they are.

    Parameters
    ----------
    model : torch.nn.Module
        Its atomic features stay the same up to rounding. Weights and their names are
        untouched.
    atoms_only : bool, optional
        Whether nothing but atomic features is read. If so, the edge and equivariant
        features that the descriptor also returns are wrong, but within
        :func:`last_layer_complete`.
    """
    for module in model.modules():
        silut = getattr(module, "silut", None)
        if silut is not None and not isinstance(silut, FusedSiLUT):
            module.silut = FusedSiLUT(silut)
        if type(module).__name__ == "RepFlowLayer":
            module.optim_angle_update_dynamic = MethodType(_angle_update, module)
            module.optim_edge_update_dynamic = MethodType(_edge_update, module)
        if atoms_only and type(module).__name__ == "DescrptBlockRepflows":
            last = module.layers[-1]
            if not last.sequential_update:  # else atoms are updated after the angles
                last.update_angle = False
                last._compute_edge_self_update = MethodType(_no_edge_update, last)
                last.list_update = MethodType(_update_nodes_only, last)


@contextmanager
def last_layer_complete(repflows: Any) -> Iterator[None]:
    """Let the last layer update edges and angles too, as deepmd-kit has it.

    Parameters
    ----------
    repflows : torch.nn.Module
        deepmd-kit's ``DescrptBlockRepflows``, accelerated or not.
    """
    last = repflows.layers[-1]
    replaced = ("update_angle", "_compute_edge_self_update", "list_update")
    with by_turns(repflows):
        ours = {name: vars(last).pop(name) for name in replaced if name in vars(last)}
        last.update_angle = repflows.update_angle
        try:
            yield
        finally:
            vars(last).update(ours)
