"""Judging structures by how they compare with a reference set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, tee

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mftscreen.errors import MftscreenError
from mftscreen.ood.density import Explanation, OFMDensityDetector
from mftscreen.ood.ofm import N_ORBITAL_PAIRS, OFMFeaturizer, OFMRow
from mftscreen.ood.orbitals import ORBITALS, Table, name_pair
from mftscreen.ood.reference import Reference

__all__ = ["Judgement", "decide", "describe", "judge"]

NAMED_PAIRS = 3
"""Unseen orbital pairs that a reason lists; a new element alone makes dozens."""

_BLOCK = 256
"""Structures that are looked up at a time."""

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
    far : str
        How far it is from the reference set and whether the volume makes it so; what
        there is to say of a low p-value where nothing is new. Empty without an OFM.
    nearest : tuple of str
        Ids of the nearest reference structures, nearest first.
    nearest_rows : tuple of int
        Their places in the reference set; ids may repeat.
    distances : tuple of float
        How far they are, in 1/Bohr.
    unseen_elements : tuple of str
    unseen_pairs : tuple of str
        Orbital pairs that meet nowhere in the reference set, the strongest first, as
        :func:`mftscreen.ood.orbitals.name_pair` names them. Of a pair and its mirror
        image, the stronger one.
    no_ofm : str
        Why there is no OFM; empty if there is one, or none to compare it with.
    low_dimensional : bool or None
        As :attr:`mftscreen.ood.ofm.OFMRow.low_dimensional`.
    features : ndarray of shape (1025,) or None
        As :attr:`mftscreen.ood.ofm.OFMRow.features`.
    """

    status: str = "ok"
    reason: str = ""
    p_value: float | None = None
    ood: bool | None = None
    far: str = ""
    nearest: tuple[str, ...] = ()
    nearest_rows: tuple[int, ...] = ()
    distances: tuple[float, ...] = ()
    unseen_elements: tuple[str, ...] = ()
    unseen_pairs: tuple[str, ...] = ()
    no_ofm: str = ""
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
        does not (elements of one column of the periodic table often have the same
        OFM), or if it has no OFM: then nothing says that it is like the reference
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
    pairs = zip(structures, featurize(again), strict=True)
    while block := list(islice(pairs, _BLOCK)):
        yield from _judge_block(block, reference, reference.detector)


def _judge_block(
    block: Sequence[tuple[Atoms | MftscreenError, OFMRow]],
    reference: Reference,
    detector: OFMDensityDetector,
) -> Iterator[Judgement]:
    features = [row.features for _, row in block if row.features is not None]
    found = iter(detector.explain_rows(csr_array(features)) if features else ())
    for structure, row in block:
        if row.features is None:
            yield _without_ofm(structure, row, reference)
        else:
            assert isinstance(structure, Atoms)
            yield _with_ofm(structure, row, next(found), reference)


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
    if detector.method == "knn":
        distance_of = f"mean distance to the {detector.n_neighbors} nearest"
    else:
        distance_of = f"density of Gaussians, {detector.bandwidth_:.3g} / Bohr wide"
    formulas = reference.formulas or ("",) * n
    near = zip(
        *(judgement.nearest_rows, judgement.nearest, judgement.distances), strict=True
    )
    facts = {
        "p-value": [
            f"{p_value:.3g}",
            f"{further} of {n} reference structures are at least as far "
            "from the rest of the reference set",
            f"({distance_of})",
        ],
        "verdict": [
            f"{'out of distribution' if judgement.ood else 'not flagged'} "
            f"(alpha {detector.alpha:g})"
        ],
        "new elements": ["unknown"] if reference.elements is None else new,
        "new pairs": judgement.unseen_pairs or ["none"],
        "nearest": [
            f"{distance:.3f} / Bohr  {name}  {formulas[row]}".rstrip()
            for row, name, distance in near
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
    no_ofm = "" if row.error is None else str(row.error)
    ood, reason = decide(None, elements, no_ofm=no_ofm)
    return Judgement(
        status=row.status,
        reason=reason,
        ood=ood,
        unseen_elements=elements,
        no_ofm=no_ofm,
    )


def _with_ofm(
    atoms: Atoms, row: OFMRow, why: Explanation, reference: Reference
) -> Judgement:
    detector = reference.detector
    assert detector is not None
    assert row.features is not None
    elements = reference.unseen_elements(atoms)
    pairs = _name_pairs(
        (k for k in why.unseen_columns.tolist() if k < N_ORBITAL_PAIRS),
        atoms,
        detector.table,
    )
    far = _say_how_far(row.features, why, reference)
    ood, reason = decide(
        why.p_value,
        elements,
        pairs,
        far=far,
        low_dimensional=row.low_dimensional,
        alpha=detector.alpha,
    )
    return Judgement(
        reason=reason,
        p_value=why.p_value,
        ood=ood,
        far=far,
        nearest=tuple(reference.ids[k] for k in why.indices),
        nearest_rows=tuple(why.indices.tolist()),
        distances=tuple(why.distances.tolist()),
        unseen_elements=elements,
        unseen_pairs=pairs,
        low_dimensional=row.low_dimensional,
        features=row.features,
    )


def _say_how_far(
    features: NDArray[np.float64], why: Explanation, reference: Reference
) -> str:
    assert reference.detector is not None
    row, distance = int(why.indices[0]), float(why.distances[0])
    text = f"far from the reference set: {distance:.3g} / Bohr to {reference.ids[row]}"
    volume = float(features[-1] - reference.detector.reference_[row, N_ORBITAL_PAIRS])
    if volume**2 > 0.5 * distance**2:
        text += ", whose volume per atom is unlike its own"
    return text


def decide(
    p_value: float | None,
    unseen_elements: Sequence[str],
    unseen_pairs: Sequence[str] = (),
    *,
    far: str = "",
    no_ofm: str = "",
    low_dimensional: bool | None = None,
    alpha: float = 0.05,
) -> tuple[bool | None, str]:
    """Decide whether a structure is out of distribution, and say why.

    Parameters
    ----------
    p_value : float or None
        None without an OFM.
    unseen_elements, unseen_pairs : sequence of str
    far : str, default ""
        :attr:`Judgement.far`, which explains a low p-value where nothing is new.
    no_ofm : str, default ""
        Why there is no OFM.
    low_dimensional : bool or None, optional
    alpha : float, default 0.05

    Returns
    -------
    ood : bool or None
        None if nothing can be said.
    reason : str

    Examples
    --------
    >>> decide(0.01, [], ["Cu d10 – O p4"])
    (True, 'orbital pairs never seen: Cu d10 – O p4')
    >>> decide(0.5, ["W"])
    (True, 'elements never seen: W')
    >>> decide(0.01, [], far="2.08 / Bohr from the reference set")
    (True, '2.08 / Bohr from the reference set')
    >>> decide(None, [])
    (None, '')
    """
    ood: bool | None = bool(unseen_elements) or bool(no_ofm)
    if p_value is not None:
        ood = ood or p_value <= alpha
    elif not ood:
        ood = None
    reasons = [_list("elements never seen", unseen_elements, len(unseen_elements))]
    if ood:
        reasons.append(_list("orbital pairs never seen", unseen_pairs, NAMED_PAIRS))
        if not any(reasons):
            reasons.append(far)
    if no_ofm:
        reasons.append(f"no OFM: {no_ofm}")
    if low_dimensional:
        reasons.append(LOW_DIMENSIONAL)
    return ood, "; ".join(filter(None, reasons))


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
