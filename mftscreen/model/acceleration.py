"""The same DPA3 numbers with fewer passes over memory.

A small descriptor is bound by memory traffic over angles and edges, not by arithmetic.
deepmd-kit gathers every term of a linear layer (Eqs. of the RepFlow update) to the
length of the angle list and adds them there; here terms that depend on an edge alone
are added at the length of the edge list first, and the matrix product adds into its
input. Its SiLUT evaluates both branches of Eq. 18 of arXiv:2601.08486 for every number,
although few cross the threshold.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.nn import functional

__all__ = ["SparseSiLUT", "accelerate"]


class SparseSiLUT(torch.nn.Module):
    """SiLU below a threshold t, tanh(a (x - t)) + b above, smooth at t.

    Parameters
    ----------
    threshold, slope, offset : float
        t, a and b of Eq. 18.
    """

    def __init__(self, threshold: float, slope: float, offset: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.slope = slope
        self.offset = offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation of `x`, element by element."""
        result: torch.Tensor = functional.silu(x)
        (above,) = (x.reshape(-1) >= self.threshold).nonzero(as_tuple=True)
        if above.numel():
            large = x.reshape(-1)[above]
            result.view(-1)[above] = (
                torch.tanh(self.slope * (large - self.threshold)) + self.offset
            )
        return result


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


def accelerate(model: Any) -> None:
    """Replace the slow parts of a deepmd-kit DPA3 model; others are left as they are.

    Parameters
    ----------
    model : torch.nn.Module
        For evaluation: its results stay the same up to rounding.
    """
    for module in model.modules():
        silut = getattr(module, "silut", None)
        if silut is not None and not isinstance(silut, SparseSiLUT):
            offset = silut.const_val if hasattr(silut, "const_val") else silut.const
            module.silut = SparseSiLUT(silut.threshold, silut.slope, offset)
        if type(module).__name__ == "RepFlowLayer":
            module.optim_angle_update_dynamic = MethodType(_angle_update, module)
            module.optim_edge_update_dynamic = MethodType(_edge_update, module)
