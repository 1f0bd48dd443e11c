"""What a model file may say of a 7net descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mftscreen.model.backbones.sevennet.shape import Shape
from mftscreen.model.files.parameters import (
    DescriptorParameters,
    Length,
    Neighbors,
    Width,
)

__all__ = ["Basis", "Layer", "Layers", "SevenNetParameters", "check_order"]

Layers = Annotated[int, Field(ge=1, le=64)]
Layer = Annotated[int, Field(ge=0, le=63)]
Basis = Annotated[int, Field(ge=1, le=1024)]


class SevenNetParameters(DescriptorParameters):
    """Parameters of the descriptor."""

    type: Literal["sevennet"]
    cutoff: Length
    cutoff_on: Length | None
    channels: Annotated[list[Width], Field(min_length=1, max_length=5)]
    n_layers: Layers
    n_basis: Basis
    radial_neurons: Annotated[list[Width], Field(min_length=1, max_length=16)]
    divisor: Length
    output_layers: Annotated[list[Layer], Field(min_length=1, max_length=64)]
    sel: Neighbors
    # others have no loops on a CPU
    precision: Literal["default", "float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _ordered(self) -> SevenNetParameters:
        check_order(self.cutoff, self.cutoff_on, self.n_layers, self.output_layers)
        return self

    def width(self) -> int:
        """Return the width of atomic features."""
        return self.channels[0] * len(self.output_layers)

    def least_weights(self, n_types: int) -> int:
        """Return how many weights it has."""
        shape = Shape(
            self.cutoff,
            self.cutoff_on,
            self.channels,
            self.n_layers,
            self.n_basis,
            self.radial_neurons,
        )
        return shape.n_weights(n_types)


def check_order(
    cutoff: float, cutoff_on: float | None, n_layers: int, output_layers: Sequence[int]
) -> None:
    """Raise if parameters that are right by themselves do not go together.

    Raises
    ------
    ValueError
        If edges are switched off from beyond the cutoff on, or features are those of
        layers that there are not.
    """
    if cutoff_on is not None and cutoff_on >= cutoff:
        msg = f"cutoff_on: {cutoff_on:g} Å is not below the cutoff, {cutoff:g} Å"
        raise ValueError(msg)
    if not all(0 <= layer < n_layers for layer in output_layers):
        msg = (
            f"output_layers: {list(output_layers)} are not all layers from 0 to "
            f"{n_layers - 1}"
        )
        raise ValueError(msg)
