"""Sizes of the kinds of descriptors that are trained from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Discriminator, Tag

from mftscreen.model.backbones.dpa3.size import DPA3Size
from mftscreen.model.backbones.dpa4.size import DPA4Size
from mftscreen.model.backbones.sevennet.size import SevenNetSize

__all__ = ["DescriptorSize", "descriptor_kind"]


def descriptor_kind(descriptor: object) -> object:
    """Return the kind of a descriptor in a configuration; DPA3 if nothing says which.

    Parameters
    ----------
    descriptor : mapping or Size

    Examples
    --------
    >>> descriptor_kind({"n_layers": 3}), descriptor_kind({"type": "dpa4"})
    ('dpa3', 'dpa4')
    """
    if isinstance(descriptor, Mapping):
        return descriptor.get("type", "dpa3")
    return getattr(descriptor, "type", None)


DescriptorSize = Annotated[
    Annotated[DPA3Size, Tag("dpa3")]
    | Annotated[DPA4Size, Tag("dpa4")]
    | Annotated[SevenNetSize, Tag("sevennet")],
    Discriminator(
        descriptor_kind,
        custom_error_type="descriptor",
        custom_error_message="its 'type' is one of dpa3, dpa4, sevennet",
    ),
]
"""In a configuration; its ``type`` says of which kind it is."""
