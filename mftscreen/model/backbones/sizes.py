"""Sizes of the kinds of descriptors that are trained from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from mftscreen.model.backbones.dpa3.size import DPA3Size
from mftscreen.model.backbones.sevennet.size import SevenNetSize

__all__ = ["DescriptorSize"]


def _kind(value: Any) -> str:
    """Return the kind of a descriptor in a configuration; DPA3 if it has none."""
    if isinstance(value, Mapping):
        return str(value.get("type", "dpa3"))
    return str(value.type)


DescriptorSize = Annotated[
    Annotated[DPA3Size, Tag("dpa3")] | Annotated[SevenNetSize, Tag("sevennet")],
    Discriminator(_kind),
]
"""In a configuration; its ``type`` says of which kind it is."""
