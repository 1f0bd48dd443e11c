"""Measuring what is new about structures: comparison with a reference set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, tee

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mftscreen.errors import MftscreenError
from mftscreen.ood.ofm.featurizer import N_ORBITAL_PAIRS, OFMFeaturizer, OFMRow
from mftscreen.ood.ofm.orbitals import ORBITALS, Table, name_pair
from mftscreen.ood.reference.density import OFMDensityDetector
from mftscreen.ood.reference.explanation import Explanation
from mftscreen.ood.reference.novelty import LOW_DIMENSIONAL, Novelty, flag
from mftscreen.ood.reference.reference_set import Reference

__all__ = ["describe", "measure_novelty"]

_BLOCK = 256
"""Structures that are looked up at a time."""


def measure_novelty(
    structures: Iterable[Atoms | MftscreenError],
    reference: Reference,
    *,
    n_jobs: int = 1,
) -> Iterator[Novelty]:
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
    Novelty
        One per structure, in order.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mftscreen.ood.reference.reference_set import fit_reference
    >>> oxides = {f"{a} Å": bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2, 4.3)}
    >>> reference, _ = fit_reference(oxides.items())
    >>> (row,) = measure_novelty([bulk("Si")], reference)
    >>> row.p_value, row.nearest[0], row.unseen_elements
    (0.25, '4.3 Å', ('Si',))
    >>> row.unseen_pairs
    ('Si s2 – Si p2', 'Si p2 – Si p2')
    """
    if reference.detector is None:
        for structure in structures:
            yield _without_ofm(structure, OFMRow(), reference)
        return
    structures, again = tee(structures)
    featurize = OFMFeaturizer(table=reference.detector.table, n_jobs=n_jobs)
    pairs = zip(structures, featurize(again), strict=True)
    while block := list(islice(pairs, _BLOCK)):
        yield from _measure_block(block, reference, reference.detector)


def _measure_block(
    block: Sequence[tuple[Atoms | MftscreenError, OFMRow]],
    reference: Reference,
    detector: OFMDensityDetector,
) -> Iterator[Novelty]:
    features = [row.features for _, row in block if row.features is not None]
    found = iter(detector.explain_rows(csr_array(features)) if features else ())
    for structure, row in block:
        if row.features is None:
            yield _without_ofm(structure, row, reference)
        else:
            assert isinstance(structure, Atoms)
            yield _with_ofm(structure, row, next(found), reference)


def describe(found: Novelty, reference: Reference, alpha: float) -> str:
    """Return what is new about a structure as text, one line for each thing to say.

    Parameters
    ----------
    found : Novelty
    reference : Reference
        The one that it was compared with.
    alpha : float
        Significance level to flag at.

    Returns
    -------
    str
    """
    verdict = flag(found, alpha)
    detector, p_value = reference.detector, found.p_value
    if detector is None or p_value is None:
        return f"p-value       none: {verdict.reason or 'no reference set'}\n"
    n = len(reference.ids)
    further = round(p_value * (n + 1)) - 1
    new = list(found.unseen_elements) or ["none"]
    if detector.method == "knn":
        distance_of = f"mean distance to the {detector.n_neighbors} nearest"
    else:
        distance_of = f"density of Gaussians, {detector.bandwidth_:.3g} / Bohr wide"
    formulas = reference.formulas or ("",) * n
    near = zip(*(found.nearest_rows, found.nearest, found.distances), strict=True)
    facts = {
        "p-value": [
            f"{p_value:.3g}",
            f"{further} of {n} reference structures are at least as far "
            "from the rest of the reference set",
            f"({distance_of})",
        ],
        "verdict": [
            f"{'out of distribution' if verdict.ood else 'not flagged'} "
            f"(alpha {alpha:g})"
        ],
        "new elements": ["unknown"] if reference.elements is None else new,
        "new pairs": found.unseen_pairs or ["none"],
        "nearest": [
            f"{distance:.3f} / Bohr  {name}  {formulas[row]}".rstrip()
            for row, name, distance in near
        ],
    }
    if found.low_dimensional:
        facts["note"] = [LOW_DIMENSIONAL]
    text = ""
    for heading, lines in facts.items():
        for number, line in enumerate(lines):
            text += f"{'' if number else heading:<14}{line}\n"
    return text


def _without_ofm(
    structure: Atoms | MftscreenError, row: OFMRow, reference: Reference
) -> Novelty:
    if isinstance(structure, MftscreenError):
        return Novelty(OFMRow(error=structure).status, unreadable=str(structure))
    return Novelty(
        status=row.status,
        unseen_elements=reference.unseen_elements(structure),
        no_ofm="" if row.error is None else str(row.error),
    )


def _with_ofm(
    atoms: Atoms, row: OFMRow, why: Explanation, reference: Reference
) -> Novelty:
    assert reference.detector is not None
    assert row.features is not None
    pairs = (k for k in why.unseen_columns.tolist() if k < N_ORBITAL_PAIRS)
    return Novelty(
        p_value=why.p_value,
        far=_say_how_far(row.features, why, reference),
        nearest=tuple(reference.ids[k] for k in why.indices),
        nearest_rows=tuple(why.indices.tolist()),
        distances=tuple(why.distances.tolist()),
        unseen_elements=reference.unseen_elements(atoms),
        unseen_pairs=_name_pairs(pairs, atoms, reference.detector.table),
        low_dimensional=row.low_dimensional,
        features=row.features,
    )


def _say_how_far(
    features: NDArray[np.float64], why: Explanation, reference: Reference
) -> str:
    assert reference.detector is not None
    row, distance = int(why.indices[0]), float(why.distances[0])
    nearest = reference.ids[row]
    text = (
        f"far from the reference set: {distance:.3g}/Bohr from the nearest, {nearest}"
    )
    volume = float(features[-1] - reference.detector.reference_[row, N_ORBITAL_PAIRS])
    if volume**2 > 0.5 * distance**2:
        text += ", whose volume per atom is unlike its own"
    return text


def _name_pairs(columns: Iterable[int], atoms: Atoms, table: Table) -> tuple[str, ...]:
    """Name orbital pairs, strongest first; of A – B and B – A, only the stronger."""
    names: dict[frozenset[int], str] = {}
    for column in columns:
        orbitals = frozenset(divmod(column, len(ORBITALS)))
        names.setdefault(orbitals, name_pair(column, atoms.numbers, table))
    return tuple(names.values())
