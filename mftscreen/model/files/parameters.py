"""Parameters of models, each with the type and the size that it may have.

What :mod:`mftscreen.model.files.allowed` compares a model file with is made of these.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BYTES",
    "Activation",
    "Allowed",
    "Count",
    "DescriptorParameters",
    "Layers",
    "Length",
    "Name",
    "Neighbors",
    "Number",
    "Pairs",
    "Precision",
    "Seed",
    "Small",
    "Width",
]

Count = Annotated[int, Field(ge=0, le=2**31)]
Width = Annotated[int, Field(ge=1, le=65_536)]
Small = Annotated[int, Field(ge=0, le=1024)]
Layers = Annotated[int, Field(ge=1, le=256)]
Neighbors = Annotated[int, Field(ge=1, le=20_000)]
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0.0, le=50.0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
SeedNumber = Annotated[int, Field(ge=0, lt=2**63)]
Seed = SeedNumber | list[SeedNumber] | None
Activation = Annotated[
    str,
    Field(
        pattern=r"^(tanh|relu6?|gelu(_tf)?|softplus|sigmoid|silu|linear|none"
        r"|(silut|custom_silu)(:\d{1,3}(\.\d{1,6})?)?)$"
    ),
]
Precision = Literal["default", "float16", "float32", "float64", "bfloat16"]
BYTES: dict[Precision, int] = {
    "default": 8, "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
}  # fmt: skip
"""Of a weight. That of ``default`` is set by an environment variable, to 8 mostly."""

Pairs = list[list[Count] | tuple[Count, Count]]


class Allowed(BaseModel):
    """Parameters, of which others than these are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DescriptorParameters(Allowed):
    """Parameters of a descriptor; of each type, one subclass."""

    precision: Precision = "default"
    activation_function: Activation = "silu"
    seed: Seed = None
    trainable: bool = True
    exclude_types: Pairs = Field(default=[])

    def width(self) -> int:
        """Return the least length of what the descriptor gives for each atom."""
        raise NotImplementedError

    def least_weights(self, n_types: int) -> int:
        """Return how many weights such a descriptor has at the least.

        Parameters
        ----------
        n_types : int
            Elements in its type map.
        """
        raise NotImplementedError
