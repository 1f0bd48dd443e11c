"""The size of a DPA4 descriptor, and a descriptor of that size with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mftscreen.model.backbones.dpa4.allowed_parameters import DPA4Shape
from mftscreen.model.backbones.seam import EdgeCutoffs

__all__ = ["DPA4Size"]

_OF_A_RUN = ("sel", "seed", "trainable", "exclude_types")
"""What deepmd-kit has among the parameters that is no part of a size."""


class DPA4Size(DPA4Shape):
    """Size of a DPA4 descriptor that is trained from random weights.

    Its keys and their defaults are deepmd-kit's.
    """

    type: Literal["dpa4"] = "dpa4"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> DPA4Size:
        """Return the size of a descriptor.

        Parameters
        ----------
        parameters : mapping
            deepmd-kit's of the descriptor.
        """
        own = {k: v for k, v in parameters.items() if k not in _OF_A_RUN}
        return cls.model_validate({**own, "type": "dpa4"})

    @property
    def cutoffs(self) -> EdgeCutoffs:
        """How far it sees; it has no angles."""
        return EdgeCutoffs(edge=self.rcut, angle=0.0)

    def parameters(self, neighbors: tuple[int, int], seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of a descriptor with random weights.

        Parameters
        ----------
        neighbors : tuple of int
            Most neighbours of an atom within the edge and within the angle cutoff.
        seed : int

        Returns
        -------
        dict
        """
        return {**self.model_dump(), "sel": max(1, neighbors[0]), "seed": seed}

    def energy_net(self, seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of an energy head with random weights.

        Parameters
        ----------
        seed : int

        Returns
        -------
        dict
            As in deepmd-kit's examples: one layer, as wide as the descriptor needs it.
        """
        return {
            "type": "dpa4_ener",
            "neuron": [0],
            "precision": "float32",
            "seed": seed,
        }
