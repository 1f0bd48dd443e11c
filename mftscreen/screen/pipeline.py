"""From candidates to rows: predict, compare with the training set, rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING

from ase import Atoms

from mftscreen.errors import UnknownPropertyError
from mftscreen.predictor import Predictor
from mftscreen.screen.candidates import Candidate
from mftscreen.structures import reduced_formula

if TYPE_CHECKING:
    from mftscreen.ood.reference import Reference

__all__ = ["ScreenRow", "screen"]


@dataclass(frozen=True)
class ScreenRow:
    """The outcome for one candidate.

    Attributes
    ----------
    id : str
    formula : str
        Reduced formula; empty if there is no structure.
    value : float or None
        The predicted property; None if the candidate failed.
    unit : str
    ood_p_value : float or None
        Share of the training set that lies at least as far from the rest of the
        training set as the candidate does. None where no OFM exists.
    ood : bool or None
        Whether the candidate counts as out of distribution.
    low_dimensional : bool or None
        Whether the candidate holds vacuum, so that its p-value depends on the thickness
        of the vacuum.
    status : str
        ``ok`` or the kind of failure.
    reason : str
        Why it failed, or what makes it out of distribution: new elements, new orbital
        pairs.
    model : str
        ``m`` and the first 12 characters of the model file's sha256.
    atoms : Atoms or None
    """

    id: str
    formula: str
    value: float | None
    unit: str
    ood_p_value: float | None
    ood: bool | None
    low_dimensional: bool | None
    status: str
    reason: str
    model: str
    atoms: Atoms | None


def screen(
    candidates: Iterable[Candidate],
    predictor: Predictor,
    name: str,
    reference: Reference,
) -> Iterator[ScreenRow]:
    """Yield one row per candidate, in order; nothing is lost.

    Parameters
    ----------
    candidates : iterable of Candidate
    predictor : Predictor
        That predicts the property `name`.
    name : str
        Name of the property.
    reference : Reference
        The property's training set. Without orbital field matrices in it there are no
        p-values.

    Yields
    ------
    ScreenRow

    Raises
    ------
    UnknownPropertyError
        If `predictor` was not built for the property.
    """
    from mftscreen.ood.judgement import Judgement, judge

    ids, structures = tee(candidates)
    if name not in predictor.properties:
        msg = f"the predictor predicts {', '.join(predictor.properties)}, not {name!r}"
        raise UnknownPropertyError(msg)
    spec = predictor.model.properties[name]
    # a letter first: ase.db takes values that look like numbers for numbers
    model = f"m{predictor.model.sha256[:12]}"
    rows, again = tee(predictor(candidate.structure for candidate in structures))
    judgements = judge(
        (row.atoms for row in again if row.ok and row.atoms is not None), reference
    )
    for candidate, row in zip(ids, rows, strict=True):
        found = next(judgements) if row.ok else Judgement()
        yield ScreenRow(
            id=candidate.id,
            formula=reduced_formula(row.atoms),
            value=row.properties[name] if row.ok else None,
            unit=spec.unit,
            ood_p_value=found.p_value,
            ood=found.ood,
            low_dimensional=found.low_dimensional,
            status=row.status,
            reason=found.reason if row.ok else row.reason,
            model=model,
            atoms=row.atoms,
        )
