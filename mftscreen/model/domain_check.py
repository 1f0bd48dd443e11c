"""What the heads on a card are worth for a structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ase import Atoms

from mftscreen.errors import (
    OutsideDomainError,
    PeriodicityError,
    StructureError,
    UnknownElementError,
)
from mftscreen.model.files.bundle import ForceFieldDomain, ModelCard

__all__ = ["DomainCheck", "check_elements", "judge_properties", "doubts_of_energy"]


@dataclass(frozen=True)
class DomainCheck:
    """What the heads of a model are worth for a structure.

    Attributes
    ----------
    refused : dict of str to StructureError
        Property to why it is not predicted; ``energy`` for the force field.
    unseen_elements : dict of str to tuple of str
        Property to the elements that its head never saw, if there are any.
    doubts : dict of str to tuple of str
        Property, or ``energy``, to what else its head has never seen the like of.
    """

    refused: dict[str, StructureError] = field(default_factory=dict)
    unseen_elements: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)


def judge_properties(
    card: ModelCard, atoms: Atoms, properties: Sequence[str], *, lenient: bool = False
) -> DomainCheck:
    """Return which properties mean nothing for a structure, and which little.

    Parameters
    ----------
    card : ModelCard
    atoms : Atoms
        Not broken.
    properties : sequence of str
    lenient : bool, default False
        Whether what means nothing is a doubt. Properties of molecules stay refused for
        crystals, which do not have them.

    Returns
    -------
    DomainCheck
    """
    refused: dict[str, StructureError] = {}
    unseen: dict[str, tuple[str, ...]] = {}
    doubts: dict[str, tuple[str, ...]] = {}
    for name in properties:
        head = card.properties[name]
        unseen[name] = _unseen(atoms, head.elements)
        doubts[name] = head.domain.doubts(atoms) if head.domain else ()
        why = head.domain.refusal(atoms) if head.domain else ""
        kind, formula = OutsideDomainError, ""
        try:
            head.spec.check_structure(atoms)
        except StructureError as error:
            kind, formula = type(error), str(error)
        if lenient and kind is not PeriodicityError:
            doubts[name] = (*filter(None, (why, formula)), *doubts[name])
        elif why or formula:
            own = f"{name}: {why}" if why else ""
            refused[name] = kind("; ".join(filter(None, (own, formula))))
    return DomainCheck(refused, _filled(unseen), _filled(doubts))


def check_elements(card: ModelCard, atoms: Atoms) -> None:
    """Raise if the energy head never saw an element, as far as the card says.

    Raises
    ------
    UnknownElementError
    """
    seen = _force_field(card)
    if seen is not None and (unseen := _unseen(atoms, seen.elements)):
        msg = (
            f"holds {', '.join(unseen)}, which the energy head {card.energy_head} "
            "never saw"
        )
        raise UnknownElementError(msg)


def doubts_of_energy(card: ModelCard, atoms: Atoms) -> tuple[str, ...]:
    """Return what the energy head has never seen the like of.

    A structure of another kind, as a slab for a head of crystals, is not refused: it
    may be relaxed.
    """
    seen = _force_field(card)
    if seen is None:
        return ()
    return tuple(filter(None, (seen.domain.refusal(atoms), *seen.domain.doubts(atoms))))


def _force_field(card: ModelCard) -> ForceFieldDomain | None:
    return card.force_field_domains.get(card.energy_head or "")


def _unseen(atoms: Atoms, elements: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(atoms.symbols) - set(elements)))


def _filled(found: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: own for name, own in found.items() if own}
