"""Networks side by side, whose descriptors are read as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import ModelFileError
from mftscreen.model.network.backend import DeepmdNetwork, Evaluation

__all__ = ["Network", "SideBySide", "common_elements", "side_by_side"]


class SideBySide:
    """Networks that see the same structures; all heads are those of the first.

    Parameters
    ----------
    members : sequence of DeepmdNetwork
        At least one.

    Attributes
    ----------
    members : tuple of DeepmdNetwork
    heads : dict of str to Head
    type_map : tuple of str
        Chemical symbols that every member knows, in the order of the first.

    Raises
    ------
    ModelFileError
        As :func:`common_elements`.
    """

    def __init__(self, members: Sequence[DeepmdNetwork]) -> None:
        self.members = tuple(members)
        self._first, *self._others = members
        self.heads = self._first.heads
        self.type_map = common_elements([member.type_map for member in members])

    @property
    def shares_descriptor(self) -> bool:
        """Whether each member has one descriptor."""
        return all(member.shares_descriptor for member in self.members)

    @property
    def width(self) -> int:
        """Features of an atom, of all members together."""
        return sum(member.width for member in self.members)

    def evaluate(
        self,
        structures: Sequence[Atoms],
        *,
        energy_head: str | None = None,
        property_heads: Sequence[str] = (),
        derivatives: bool = True,
        descriptors: bool = False,
    ) -> list[Evaluation]:
        """Evaluate structures of any composition and size together.

        Parameters, results and errors are those of :meth:`DeepmdNetwork.evaluate`; the
        members other than the first are evaluated for descriptors alone, which have the
        features of one member after the other.
        """
        found = self._first.evaluate(
            structures,
            energy_head=energy_head,
            property_heads=property_heads,
            derivatives=derivatives,
            descriptors=descriptors,
        )
        if not descriptors:
            return found
        parts = [
            found,
            *(other.evaluate(structures, descriptors=True) for other in self._others),
        ]
        return [
            replace(own[0], descriptors=_joined(own))
            for own in zip(*parts, strict=True)
        ]


def _joined(evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    """Return all features (n_atoms, n_features) of a structure."""
    features = [each.descriptors for each in evaluations]
    return np.hstack([own for own in features if own is not None])


def common_elements(type_maps: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the elements that stand in all type maps, in the order of the first.

    Parameters
    ----------
    type_maps : sequence of sequence of str
        At least one.

    Raises
    ------
    ModelFileError
        If there is none.

    Examples
    --------
    >>> common_elements([["H", "O", "Mg"], ["Mg", "H"]])
    ('H', 'Mg')
    """
    first, *others = type_maps
    found = tuple(s for s in first if all(s in other for other in others))
    if not found:
        msg = "networks side by side need an element that all of them know"
        raise ModelFileError(msg)
    return found


Network: TypeAlias = DeepmdNetwork | SideBySide


def side_by_side(members: Sequence[DeepmdNetwork]) -> Network:
    """Return several networks as one; a single one as it is.

    Parameters
    ----------
    members : sequence of DeepmdNetwork
        At least one.

    Raises
    ------
    ModelFileError
        As :func:`common_elements`.
    """
    return members[0] if len(members) == 1 else SideBySide(members)
