"""The size of a 7net descriptor, and a descriptor of that size with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.backbones.sevennet.allowed_parameters import (
    Basis,
    Layer,
    Layers,
    check_order,
)
from mftscreen.model.files.parameters import Length, Width

__all__ = ["SevenNetSize"]


class SevenNetSize(BaseModel):
    """Size of a 7net descriptor that is trained from random weights."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    type: Literal["sevennet"] = "sevennet"
    """Kind of the descriptor."""
    cutoff: Length = 5.0
    """Å."""
    cutoff_on: Length | None = 4.5
    """Å; from here on, edges are switched off. Null for a polynomial."""
    channels: Annotated[list[Width], Field(min_length=1, max_length=5)] = Field(
        default=[128, 64, 32]
    )
    """Of each angular momentum, from 0 up."""
    n_layers: Layers = 5
    """Message-passing layers."""
    n_basis: Basis = 8
    """Radial basis functions."""
    radial_neurons: Annotated[list[Width], Field(min_length=1, max_length=16)] = Field(
        default=[64, 64]
    )
    """Widths of the perceptrons of distances."""
    divisor: Length = 6.0
    """Of sums over neighbours: about the square root of how many there are."""
    output_layers: Annotated[list[Layer], Field(min_length=1, max_length=64)] = Field(
        default=[2, 3, 4]
    )
    """Layers, from 0 up, whose scalars are features."""

    @model_validator(mode="after")
    def _ordered(self) -> SevenNetSize:
        check_order(self.cutoff, self.cutoff_on, self.n_layers, self.output_layers)
        return self

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> SevenNetSize:
        """Return the size of a descriptor.

        Parameters
        ----------
        parameters : mapping
            deepmd-kit's of the descriptor.
        """
        return cls(**{name: parameters[name] for name in cls.model_fields})

    @property
    def cutoffs(self) -> EdgeCutoffs:
        """How far it sees."""
        return EdgeCutoffs(edge=self.cutoff, angle=self.cutoff)

    def parameters(self, neighbors: tuple[int, int], seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of a descriptor with random weights.

        Parameters
        ----------
        neighbors : tuple of int
            Most neighbours of an atom within the cutoff, twice.
        seed : int

        Returns
        -------
        dict
        """
        return {
            **self.model_dump(),
            "sel": max(1, neighbors[0]),
            "precision": "float32",
            "seed": seed,
        }

    def energy_net(self, seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of an energy head with random weights.

        Parameters
        ----------
        seed : int

        Returns
        -------
        dict
            Without hidden layers, as in SevenNet.
        """
        return {"type": "ener", "neuron": [], "precision": "float32", "seed": seed}
