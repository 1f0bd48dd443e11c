"""What a 7net network is made of, and how many weights that takes; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Path", "Shape"]


class Path(NamedTuple):
    """A coupling of features and harmonics to messages; angular momenta."""

    feature: int
    harmonic: int
    message: int


@dataclass(frozen=True)
class Shape:
    """What a network is made of.

    Attributes
    ----------
    cutoff : float
        Å.
    cutoff_on : float or None
        Å; edges are switched off from here to the cutoff. None if that begins at 0, by
        a polynomial.
    channels : sequence of int
        Of features of each angular momentum, from 0 up.
    n_layers : int
    n_basis : int
        Radial basis functions.
    radial_neurons : sequence of int
        Widths of the hidden layers of the perceptrons of the distance.
    divisor : float
        Of sums over neighbours: about the square root of how many there are.
    """

    cutoff: float = 5.0
    cutoff_on: float | None = 4.5
    channels: Sequence[int] = (128, 64, 32)
    n_layers: int = 5
    n_basis: int = 8
    radial_neurons: Sequence[int] = (64, 64)
    divisor: float = 6.0

    @property
    def l_max(self) -> int:
        """Highest angular momentum of features and of harmonics."""
        return len(self.channels) - 1

    def inputs(self, layer: int) -> Sequence[int]:
        """Return the channels of what a layer starts from."""
        return self.channels if layer else self.channels[:1]

    def outputs(self, layer: int) -> Sequence[int]:
        """Return the channels of what a layer gives."""
        return self.channels if layer < self.n_layers - 1 else self.channels[:1]

    def gates(self, layer: int) -> list[int]:
        """Return the channels that a layer's gate starts from.

        Scalars have one more for each channel that is no scalar.
        """
        outputs = self.outputs(layer)
        return [sum(outputs), *outputs[1:]]

    def paths(self, layer: int) -> list[Path]:
        """Return the paths of a layer, by features and harmonics."""
        l_out = len(self.outputs(layer)) - 1
        return [
            Path(l1, l2, l3)
            for l1 in range(len(self.inputs(layer)))
            for l2 in range(self.l_max + 1)
            for l3 in range(abs(l1 - l2), min(l1 + l2, l_out) + 1)
        ]

    def messages(self, layer: int) -> list[int]:
        """Return the channels of a layer's messages, those of all paths together."""
        inputs, paths = self.inputs(layer), self.paths(layer)
        return [
            sum(inputs[p.feature] for p in paths if p.message == l3)
            for l3 in range(len(self.outputs(layer)))
        ]

    def radial(self, layer: int) -> list[int]:
        """Return the widths of a layer's perceptron of distances, from end to end."""
        return [self.n_basis, *self.radial_neurons, sum(self.messages(layer))]

    def n_weights(self, n_types: int) -> int:
        """Return how many weights a network has.

        Parameters
        ----------
        n_types : int
            Elements that it tells apart.

        Examples
        --------
        >>> Shape().n_weights(89)
        834184
        """
        layers = sum(map(self._n_weights_of_layer, range(self.n_layers)))
        return n_types * self.channels[0] + self.n_basis + layers

    def _n_weights_of_layer(self, layer: int) -> int:
        inputs, gates = self.inputs(layer), self.gates(layer)
        own = sum(a * b for a, b in zip(inputs, gates, strict=False))
        before = sum(n * n for n in inputs)
        after = sum(a * b for a, b in zip(self.messages(layer), gates, strict=True))
        return (
            own + before + after + sum(a * b for a, b in pairwise(self.radial(layer)))
        )
