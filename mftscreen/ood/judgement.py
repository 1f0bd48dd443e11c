"""Judging structures by how they compare with a reference set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import tee

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import MftscreenError
from mftscreen.ood.ofm import OFMFeaturizer, OFMRow
from mftscreen.ood.orbitals import ORBITALS, Table, name_pair
from mftscreen.ood.reference import Reference

__all__ = ["Judgement", "describe", "judge"]

NAMED_PAIRS = 3
"""Unseen orbital pairs that a reason lists; a new element alone makes dozens."""


LOW_DIMENSIONAL = "low-dimensional: the OFM depends on the vacuum"


@dataclass(frozen=True)
class Judgement:
    """How a structure compares with a reference set.

    Attributes
    ----------
    status : str
        ``ok``, or why there is no orbital field matrix (OFM).
    reason : str
        What makes it out of distribution, or what to know about its p-value.
    p_value : float or None
        Share of the reference set that lies at least as far from the rest of the
        reference set as the structure does. None without an OFM.
    ood : bool or None
        Whether it counts as out of distribution; None if nothing can be said.
    nearest : tuple of str
        Ids of the nearest reference structures, nearest first.
    distances : tuple of float
        How far they are, in 1/Bohr.
    unseen_elements : tuple of str
    unseen_pairs : tuple of str
        Orbital pairs that meet nowhere in the reference set, the strongest first, as
        :func:`mftscreen.ood.orbitals.name_pair` names them. Of a pair and its mirror
        image, the stronger one.
    low_dimensional : bool or None
        As :attr:`mftscreen.ood.ofm.OFMRow.low_dimensional`.
    features : ndarray of shape (1025,) or None
        As :attr:`mftscreen.ood.ofm.OFMRow.features`.
    """

    status: str = "ok"
    reason: str = ""
    p_value: float | None = None
    ood: bool | None = None
    nearest: tuple[str, ...] = ()
    distances: tuple[float, ...] = ()
    unseen_elements: tuple[str, ...] = ()
    unseen_pairs: tuple[str, ...] = ()
    low_dimensional: bool | None = None
    features: NDArray[np.float64] | None = field(
        default=None, repr=False, compare=False
    )


def judge(
    structures: Iterable[Atoms | MftscreenError],
    reference: Reference,
    *,
    n_jobs: int = 1,
) -> Iterator[Judgement]:
    """Compare structures with a reference set.

    Parameters
    ----------
    structures : iterable of Atoms or MftscreenError
        The error of a reader in place of a structure that it could not parse.
    reference : Reference
    n_jobs : int, default 1
        Number of processes for the orbital field matrices; -1 for all cores.

    Yields
    ------
    Judgement
        One per structure, in order. A structure is out of distribution if its p-value
        is at most the detector's alpha, if it holds an element that the reference set
        does not (the OFM cannot tell elements of one column of the periodic table
        apart), or if it has no OFM: then nothing says that it is like the reference
        set.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mftscreen.ood.reference import fit_reference
    >>> oxides = {f"{a} Å": bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2, 4.3)}
    >>> reference, _ = fit_reference(oxides.items())
    >>> (row,) = judge([bulk("Si")], reference)
    >>> row.ood, row.p_value, row.nearest[0]
    (True, 0.25, '4.3 Å')
    >>> row.reason
    'elements never seen: Si; orbital pairs never seen: Si s2 – Si p2, Si p2 – Si p2'
    """
    if reference.detector is None:
        for structure in structures:
            yield _without_ofm(structure, OFMRow(), reference)
        return
    structures, again = tee(structures)
    featurize = OFMFeaturizer(table=reference.detector.table, n_jobs=n_jobs)
    for structure, row in zip(structures, featurize(again), strict=True):
        if row.vector is None:
            yield _without_ofm(structure, row, reference)
        else:
            assert isinstance(structure, Atoms)
            yield _with_ofm(structure, row, reference)


def describe(judgement: Judgement, reference: Reference) -> str:
    """Return a judgement as text for people, one line for each thing to say.

    Parameters
    ----------
    judgement : Judgement
    reference : Reference
        The one that it was made with.

    Returns
    -------
    str
    """
    detector, p_value = reference.detector, judgement.p_value
    if detector is None or p_value is None:
        return f"p-value       none: {judgement.reason or 'no reference set'}\n"
    n = len(reference.ids)
    further = round(p_value * (n + 1)) - 1
    new = list(judgement.unseen_elements) or ["none"]
    formulas = dict(zip(reference.ids, reference.formulas, strict=False))
    near = zip(judgement.nearest, judgement.distances, strict=True)
    facts = {
        "p-value": [
            f"{p_value:.3g}",
            f"{further} of {n} reference structures are at least as far "
            "from their nearest neighbour",
        ],
        "verdict": [
            f"{'out of distribution' if judgement.ood else 'not flagged'} "
            f"(alpha {detector.alpha:g})"
        ],
        "new elements": ["unknown"] if reference.elements is None else new,
        "new pairs": judgement.unseen_pairs or ["none"],
        "nearest": [
            f"{distance:.3f} / Bohr  {name}  {formulas.get(name, '')}".rstrip()
            for name, distance in near
        ],
    }
    if judgement.low_dimensional:
        facts["note"] = [LOW_DIMENSIONAL]
    text = ""
    for heading, lines in facts.items():
        for number, line in enumerate(lines):
            text += f"{'' if number else heading:<14}{line}\n"
    return text


def _without_ofm(
    structure: Atoms | MftscreenError, row: OFMRow, reference: Reference
) -> Judgement:
    if isinstance(structure, MftscreenError):
        return Judgement(OFMRow(error=structure).status, str(structure))
    elements = reference.unseen_elements(structure)
    reasons = [_list("elements never seen", elements, len(elements))]
    if row.error is not None:
        reasons.append(f"no OFM: {row.error}")
    return Judgement(
        status=row.status,
        reason="; ".join(filter(None, reasons)),
        ood=True if elements or row.error is not None else None,
        unseen_elements=elements,
    )


def _with_ofm(atoms: Atoms, row: OFMRow, reference: Reference) -> Judgement:
    detector = reference.detector
    assert detector is not None
    assert row.features is not None
    why = detector.explain(row.features)
    elements = reference.unseen_elements(atoms)
    pairs = _name_pairs(why.unseen_columns.tolist(), atoms, detector.table)
    ood = bool(elements) or why.p_value <= detector.alpha
    reasons = [_list("elements never seen", elements, len(elements))]
    if ood:
        reasons.append(_list("orbital pairs never seen", pairs, NAMED_PAIRS))
    if row.low_dimensional:
        reasons.append(LOW_DIMENSIONAL)
    return Judgement(
        reason="; ".join(filter(None, reasons)),
        p_value=why.p_value,
        ood=ood,
        nearest=tuple(reference.ids[k] for k in why.indices),
        distances=tuple(why.distances.tolist()),
        unseen_elements=elements,
        unseen_pairs=pairs,
        low_dimensional=row.low_dimensional,
        features=row.features,
    )


def _name_pairs(columns: Iterable[int], atoms: Atoms, table: Table) -> tuple[str, ...]:
    """Name orbital pairs, strongest first; of A – B and B – A, only the stronger."""
    names: dict[frozenset[int], str] = {}
    for column in columns:
        orbitals = frozenset(divmod(column, len(ORBITALS)))
        names.setdefault(orbitals, name_pair(column, atoms.numbers, table))
    return tuple(names.values())


def _list(what: str, names: Sequence[str], limit: int) -> str:
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{what}: {', '.join(names[:limit])}{more}"
