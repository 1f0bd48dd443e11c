"""What a model file may say of a 7net descriptor."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mftscreen.model.files.parameters import (
    DescriptorParameters,
    Length,
    Neighbors,
    Width,
)

__all__ = ["SevenNetParameters"]

Layer = Annotated[int, Field(ge=0, le=63)]


class SevenNetParameters(DescriptorParameters):
    """Parameters of the descriptor."""

    type: Literal["sevennet"]
    cutoff: Length
    cutoff_on: Length | None
    channels: Annotated[list[Width], Field(min_length=1, max_length=5)]
    n_layers: Annotated[int, Field(ge=1, le=64)]
    n_basis: Annotated[int, Field(ge=1, le=1024)]
    radial_neurons: Annotated[list[Width], Field(min_length=1, max_length=16)]
    divisor: Length
    output_layers: Annotated[list[Layer], Field(min_length=1, max_length=64)]
    sel: Neighbors

    @model_validator(mode="after")
    def _ordered(self) -> SevenNetParameters:
        if self.cutoff_on is not None and self.cutoff_on >= self.cutoff:
            msg = "edges are switched off beyond the cutoff"
            raise ValueError(msg)
        if max(self.output_layers) >= self.n_layers:
            msg = "there is no such layer to take features from"
            raise ValueError(msg)
        return self

    def width(self) -> int:
        """Return the width of atomic features."""
        return self.channels[0] * len(self.output_layers)

    def least_weights(self, n_types: int) -> int:
        """Return how many weights its embedding and its layers have at the least."""
        first = self.channels[0]
        radial = sum(a * b for a, b in pairwise([self.n_basis, *self.radial_neurons]))
        layer = 3 * first * first + radial + self.radial_neurons[-1] * first
        return n_types * first + self.n_layers * layer
