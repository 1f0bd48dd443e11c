"""Kinds of backbones: what is done with a descriptor beyond having it evaluated.

deepmd-kit builds and evaluates a descriptor of any kind. What is more, a kind may be
trained in other sizes, padded as data need it, evaluated faster, taken apart into edges
and downloaded with weights; all that is asked of an :class:`Architecture`. A kind that
has none here is :class:`Architecture` itself, and may not come in a file.

A new kind is a module, or a folder, with a subclass, and its line in
``_ARCHITECTURES``; one of another package is named by that package's entry point in the
group ``mftscreen.backbones``. :func:`mftscreen.testing.check_backbone` checks either.
Nothing here needs torch until a descriptor is at hand.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from mftscreen.model.backbones.dpa1 import DPA1
from mftscreen.model.backbones.dpa3 import DPA3
from mftscreen.model.backbones.dpa4 import DPA4
from mftscreen.model.backbones.seam import Architecture
from mftscreen.model.backbones.sevennet import SevenNet
from mftscreen.model.files.branches import Domain
from mftscreen.model.files.parameters import DescriptorParameters

__all__ = [
    "allowed_descriptors",
    "converted_models",
    "find_architecture",
    "plugins",
    "pretrained_models",
]

_ARCHITECTURES = (DPA3, DPA4, DPA1, SevenNet)
GROUP = "mftscreen.backbones"

log = logging.getLogger(__name__)


@cache
def _architectures() -> tuple[type[Architecture], ...]:
    """Return all kinds, those of other packages last.

    Of those a kind is left out, with a warning, that cannot be loaded, or that has a
    name which is taken.
    """
    found: list[type[Architecture]] = list(_ARCHITECTURES)
    owners = {name: kind for kind in found for name in _all_names(kind)}
    for entry in entry_points(group=GROUP):
        try:
            kind = entry.load()
            names = _all_names(kind)
        except Exception as error:  # noqa: BLE001 - whatever another package raises
            log.warning("backbone %s cannot be loaded: %s", entry.name, error)
            continue
        taken = sorted(owners.keys() & names)
        if taken:
            owner = owners[taken[0]]
            log.warning(
                "backbone %s is left out: %s is in use by %s.%s",
                *(entry.name, ", ".join(taken), owner.__module__, owner.__name__),
            )
            continue
        found.append(kind)
        owners |= dict.fromkeys(names, kind)
    return tuple(found)


def _all_names(kind: type[Architecture]) -> set[str]:
    """Return the names of a kind and of the models that come with it."""
    if not (isinstance(kind, type) and issubclass(kind, Architecture) and kind.kind):
        msg = "it is no kind of Architecture"
        raise TypeError(msg)
    return {*kind.names(), *kind.pretrained, *kind.converted}


def find_architecture(descriptor: Mapping[str, Any]) -> Architecture:
    """Return what is known of a kind of descriptors.

    Parameters
    ----------
    descriptor : mapping
        deepmd-kit's parameters of one, of which its ``type`` counts.

    Returns
    -------
    Architecture

    Examples
    --------
    >>> type(find_architecture({"type": "dpa3"})).__name__
    'DPA3'
    >>> find_architecture({"type": "se_atten"}).kind
    'se_atten'
    """
    kind = str(descriptor.get("type"))
    known = {name: known for known in _architectures() for name in known.names()}
    return known[kind]() if kind in known else Architecture(kind)


def allowed_descriptors() -> dict[str, type[DescriptorParameters]]:
    """Return what a model file may say of each type of descriptor that it may have."""
    return {
        name: known.allowed
        for known in _architectures()
        for name in known.names()
        if known.allowed is not None
    }


def pretrained_models() -> dict[str, Mapping[Domain, str]]:
    """Return the names of models that can be downloaded, and their heads by domain."""
    return {
        name: heads
        for architecture in _architectures()
        for name, heads in architecture.pretrained.items()
    }


def converted_models() -> dict[str, type[Architecture]]:
    """Return the names of models that come with other packages, and their kinds."""
    return {
        name: architecture
        for architecture in _architectures()
        for name in architecture.converted
    }


def plugins() -> list[str]:
    """Return the modules that register descriptors with deepmd-kit."""
    return [kind.plugin for kind in _architectures() if kind.plugin is not None]
