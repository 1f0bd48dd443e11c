r"""The network of SevenNet up to its scalar features, and the equations it computes.

Atoms have features of several angular momenta l, of 2 l + 1 components and a number of
channels each. They start from the element; a layer makes of the features x

.. math::

    x' = \mathrm{gate}\big(C x + O\, \mathrm{convolve}(w(r), Y(\hat r), I x)\big)

with linear maps C, O and I of channels, real spherical harmonics Y of the directions of
neighbours and weights w, a perceptron of radial basis functions times a switch, for
each path (l₁, l₂) → l₃ from features and harmonics to messages. The gate is SiLU for
scalars, and the SiLU of a scalar of its own times each other channel. The last layer
makes scalars only.

Weights have a variance of about 1, so that one learning rate suits all of them: a
linear map divides by the square root of its number of inputs, a sum over neighbours by
a number of its own, and SiLU is multiplied by what gives it a mean square of 1.

References
----------
* NequIP: S. Batzner et al., Nat. Commun. 13, 2453 (2022),
  doi:10.1038/s41467-022-29939-5
* SevenNet: Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024),
  doi:10.1021/acs.jctc.4c00190
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from mftscreen.model.backbones.sevennet.convolution import Edges, Paths, convolve
from mftscreen.model.backbones.sevennet.coupling import coupling, spherical_harmonics
from mftscreen.model.backbones.sevennet.shape import Path, Shape

__all__ = ["SILU_SCALE", "Network"]

SILU_SCALE = 1.6791767923989418
"""Makes the mean square of SiLU of normal numbers 1; as e3nn found with a million."""


class Network(torch.nn.Module):
    """Scalar features of atoms after each layer.

    Parameters
    ----------
    shape : Shape
    n_types : int
        Elements that it tells apart.
    """

    def __init__(self, shape: Shape, n_types: int) -> None:
        super().__init__()
        self.shape = shape
        width = shape.channels[0]
        self.embedding = torch.nn.Parameter(torch.randn(n_types, width))
        frequencies = torch.arange(1, shape.n_basis + 1) * (torch.pi / shape.cutoff)
        self.frequencies = torch.nn.Parameter(frequencies)
        self.layers = torch.nn.ModuleList(
            _Layer(shape, number) for number in range(shape.n_layers)
        )

    def forward(
        self, types: torch.Tensor, vectors: torch.Tensor, edges: Edges
    ) -> list[torch.Tensor]:
        """Return the scalar features after each layer.

        Parameters
        ----------
        types : Tensor of shape (n_atoms,)
        vectors : Tensor of shape (n_edges, 3)
            From an atom to its neighbour, in Å; none longer than the cutoff.
        edges : Edges

        Returns
        -------
        list of Tensor of shape (n_atoms, n_channels)
        """
        distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        harmonics = spherical_harmonics(vectors / distances, self.shape.l_max)
        basis = torch.sin(self.frequencies * distances) / distances
        basis = basis * self._switch(distances) * (2 / self.shape.cutoff)
        features = [self.embedding[types][:, None]]
        scalars = []
        for layer in self.layers:
            features = layer(features, basis, harmonics, edges)
            scalars.append(features[0][:, 0])
        return scalars

    def _switch(self, distances: torch.Tensor) -> torch.Tensor:
        """Return what falls from 1 to 0 where the cutoff is, with its derivatives."""
        if self.shape.cutoff_on is None:
            r = (distances / self.shape.cutoff).clamp(max=1)
            return 1 - r**6 * (28 - 48 * r + 21 * r**2)
        on, off = self.shape.cutoff_on**2, self.shape.cutoff**2
        squares = distances.square().clamp(on, off)
        return (off - squares) ** 2 * (off + 2 * squares - 3 * on) / (off - on) ** 3


class _Layer(torch.nn.Module):
    """Messages from the neighbours, added to the atom's own features."""

    def __init__(self, shape: Shape, number: int) -> None:
        super().__init__()
        paths, inputs = shape.paths(number), shape.inputs(number)
        outputs, gates = shape.outputs(number), shape.gates(number)
        self.n_scalars, self.gated = outputs[0], list(outputs[1:])
        self.own = _linear_maps(inputs[: len(gates)], gates[: len(inputs)])
        self.before = _linear_maps(inputs, inputs)
        self.after = _linear_maps(shape.messages(number), gates)
        self.radial = torch.nn.ParameterList(
            torch.randn(n_in, n_out) for n_in, n_out in pairwise(shape.radial(number))
        )
        self.divisor = shape.divisor
        convolutions = [
            _Convolution([p for p in paths if p.feature == l1], n_channels, shape.l_max)
            for l1, n_channels in enumerate(inputs)
        ]
        self.n_weights = [convolution.n_weights for convolution in convolutions]
        self.convolutions = torch.nn.ModuleList(convolutions)

    def forward(
        self,
        features: list[torch.Tensor],
        basis: torch.Tensor,
        harmonics: torch.Tensor,
        edges: Edges,
    ) -> list[torch.Tensor]:
        weights = basis
        for number, matrix in enumerate(self.radial):
            weights = _map(_silu(weights) if number else weights, matrix)
        heard: list[list[torch.Tensor]] = [[] for _ in self.after]
        own_weights = torch.split(weights, self.n_weights, dim=1)
        for own, x, matrix, convolution in zip(
            own_weights, features, self.before, self.convolutions, strict=True
        ):
            messages = convolution(own, harmonics, _map(x, matrix), edges)
            for momentum, message in messages:
                heard[momentum].append(message)
        sums = [
            _map(torch.cat(messages, dim=2), matrix / self.divisor)
            for messages, matrix in zip(heard, self.after, strict=True)
        ]
        for momentum, (x, matrix) in enumerate(zip(features, self.own, strict=False)):
            sums[momentum] = sums[momentum] + _map(x, matrix)
        scalars, *gates = torch.split(sums[0], [self.n_scalars, *self.gated], dim=2)
        gated = (_silu(g) * x for g, x in zip(gates, sums[1:], strict=True))
        return [_silu(scalars), *gated]


def _map(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Map channels, which are last, by a matrix of weights of variance 1."""
    mapped: torch.Tensor = x @ (matrix / len(matrix) ** 0.5)
    return mapped


def _silu(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(x) * SILU_SCALE


def _linear_maps(
    inputs: Sequence[int], outputs: Sequence[int]
) -> torch.nn.ParameterList:
    """Return a matrix from channels to channels for each angular momentum."""
    return torch.nn.ParameterList(
        torch.randn(n_in, n_out) for n_in, n_out in zip(inputs, outputs, strict=True)
    )


class _Convolution(torch.nn.Module):
    """Messages from the features of one angular momentum."""

    def __init__(self, paths: Sequence[Path], n_channels: int, l_max: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.momenta = [path.message for path in paths]
        self.sizes = [2 * momentum + 1 for momentum in self.momenta]
        self.n_weights = len(paths) * n_channels
        self.register_buffer(
            "path_starts", torch.tensor([0, *self.sizes]).cumsum(0), persistent=False
        )
        self.register_buffer(
            "path_numbers",
            torch.arange(len(paths)).repeat_interleave(torch.tensor(self.sizes)),
            persistent=False,
        )
        first = 2 * paths[0].feature + 1
        table = np.zeros(((l_max + 1) ** 2, first, sum(self.sizes)))
        start = 0
        for path, size in zip(paths, self.sizes, strict=True):
            block = coupling(*path).transpose(1, 0, 2) * size**0.5
            rows = slice(path.harmonic**2, (path.harmonic + 1) ** 2)
            table[rows, :, start : start + size] = block
            start += size
        self.register_buffer("couplings", torch.tensor(table), persistent=False)

    def forward(
        self,
        weights: torch.Tensor,
        harmonics: torch.Tensor,
        features: torch.Tensor,
        edges: Edges,
    ) -> list[tuple[int, torch.Tensor]]:
        """Return the sums of the messages of each path, with their angular momenta."""
        n_edges = len(weights)
        couplings = self.get_buffer("couplings")
        n_harmonics, n_components, n_messages = couplings.shape
        turned = harmonics @ couplings.reshape(n_harmonics, -1)
        summed = convolve(
            weights.reshape(n_edges, len(self.sizes), self.n_channels),
            turned.reshape(n_edges, n_components, n_messages),
            features,
            edges,
            Paths(self.get_buffer("path_starts"), self.get_buffer("path_numbers")),
        )
        return list(
            zip(self.momenta, torch.split(summed, self.sizes, dim=1), strict=True)
        )
