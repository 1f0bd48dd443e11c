r"""Messages of neighbours, weighed by distance and turned by direction, summed up.

What an atom i hears of its neighbours j is, for one angular momentum of their features,

.. math::

    y_{iku} = \sum_{e:\,j \to i} w_{e\,p(k)\,u} \sum_a b_{eak} x_{jau}

with channels u, components a of the features x, components k of the messages, each of a
path p(k) with a weight w of its own, and couplings b to the direction of the edge e.
With g in the place of y, this is linear in each of w, b, x and g. The derivative by one
of them is the sum without it; its derivatives, again, are such sums. So four loops, one
for each that is left out, are all that is needed for energies, forces, and the training
on forces. On a CPU they are compiled, and nothing as long as the list of edges times
that of components is ever written down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Edges", "Paths", "convolve"]


@dataclass(frozen=True)
class Edges:
    """The atoms at the ends of each edge.

    Attributes
    ----------
    centers, others : Tensor of shape (n_edges,)
        The atom that hears, and its neighbour.
    n_atoms : int
    """

    centers: torch.Tensor
    others: torch.Tensor
    n_atoms: int


@dataclass(frozen=True)
class Paths:
    """Which components of the messages belong to which path.

    Attributes
    ----------
    starts : Tensor of shape (n_paths + 1,)
        Path p has the components from ``starts[p]`` to ``starts[p + 1]``.
    of_component : Tensor of shape (n_components,)
    """

    starts: torch.Tensor
    of_component: torch.Tensor


def convolve(
    weights: torch.Tensor,
    couplings: torch.Tensor,
    features: torch.Tensor,
    edges: Edges,
    paths: Paths,
) -> torch.Tensor:
    """Return the sums of messages; it can be differentiated any number of times.

    Parameters
    ----------
    weights : Tensor of shape (n_edges, n_paths, n_channels)
    couplings : Tensor of shape (n_edges, n_components, n_messages)
    features : Tensor of shape (n_atoms, n_components, n_channels)
    edges : Edges
    paths : Paths
        Of the ``n_messages`` components of the messages.

    Returns
    -------
    Tensor of shape (n_atoms, n_messages, n_channels)
    """
    return _sum(3, edges, paths, weights, couplings, features, None)


class _Sum(torch.autograd.Function):
    """The sum that is linear in weights, couplings, features and messages, less one."""

    @staticmethod
    def forward(
        ctx: Any,
        left_out: int,
        edges: Edges,
        paths: Paths,
        *factors: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.left_out, ctx.edges, ctx.paths = left_out, edges, paths
        present = [factor for factor in factors if factor is not None]
        ctx.save_for_backward(*present)
        if present[0].is_cpu:
            return _compiled(left_out, edges, paths, factors)
        return _written_out(left_out, edges, paths, factors)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        factors: list[torch.Tensor | None] = list(ctx.saved_tensors)
        factors.insert(ctx.left_out, gradients[0].contiguous())
        wanted: list[torch.Tensor | None] = [None] * 4
        for place in range(4):
            if place != ctx.left_out and ctx.needs_input_grad[3 + place]:
                others = [f if k != place else None for k, f in enumerate(factors)]
                wanted[place] = _sum(place, ctx.edges, ctx.paths, *others)
        return (None, None, None, *wanted)


_sum: Callable[..., torch.Tensor] = _Sum.apply


def _compiled(
    left_out: int, edges: Edges, paths: Paths, factors: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    """Return the sum by loops over edges."""
    from mftscreen.model.backbones.sevennet.kernels import loops

    present = [None if f is None else f.detach().contiguous() for f in factors]
    result = _empty(left_out, edges, paths, present)
    arrays = [(result if f is None else f).numpy() for f in present]
    n_components = arrays[2].shape[1]
    loops(n_components)[left_out](
        edges.centers.numpy(), edges.others.numpy(), paths.starts.numpy(), *arrays
    )
    return result


def _empty(
    left_out: int, edges: Edges, paths: Paths, tensors: Sequence[Any]
) -> torch.Tensor:
    """Return zeros of the shape of the factor that is left out."""
    weights, couplings, features, messages = tensors
    shapes = (
        lambda: (len(edges.centers), len(paths.starts) - 1, features.shape[2]),
        lambda: (len(edges.centers), features.shape[1], messages.shape[1]),
        lambda: (edges.n_atoms, couplings.shape[1], weights.shape[2]),
        lambda: (edges.n_atoms, couplings.shape[2], weights.shape[2]),
    )
    some = next(tensor for tensor in tensors if tensor is not None)
    return torch.zeros(shapes[left_out](), dtype=some.dtype)


def _written_out(
    left_out: int, edges: Edges, paths: Paths, factors: Sequence[Any]
) -> torch.Tensor:
    """Return the sum by products of all edges at once, as a GPU wants them."""
    weights, couplings, features, messages = factors
    summed: torch.Tensor
    if left_out == 0:
        near = features[edges.others].transpose(1, 2) @ couplings
        terms = near.transpose(1, 2) * messages[edges.centers]
        n_paths = len(paths.starts) - 1
        summed = terms.new_zeros(len(terms), n_paths, terms.shape[2])
        return summed.index_add_(1, paths.of_component, terms)
    spread = None if weights is None else weights[:, paths.of_component]
    if left_out == 3:
        terms = (couplings.transpose(1, 2) @ features[edges.others]) * spread
        summed = terms.new_zeros(edges.n_atoms, *terms.shape[1:])
        return summed.index_add_(0, edges.centers, terms)
    weighed = messages[edges.centers] * spread
    if left_out == 1:
        summed = features[edges.others] @ weighed.transpose(1, 2)
        return summed
    terms = couplings @ weighed
    summed = terms.new_zeros(edges.n_atoms, *terms.shape[1:])
    return summed.index_add_(0, edges.others, terms)
