"""From candidates to rows: predict, compare with the training set, rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import StructureError, UnknownPropertyError
from mftscreen.predictor import PredictionRow, Predictor
from mftscreen.screen.candidates import Candidate
from mftscreen.structures import reduced_formula

__all__ = ["Detector", "ScreenRow", "screen"]


class Detector(Protocol):
    """What screening needs of an out-of-distribution detector."""

    alpha: float

    def p_value(self, X: Any) -> NDArray[np.float64]: ...  # noqa: D102


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
    status : str
        ``ok`` or the kind of failure.
    reason : str
        Why it failed, or what makes it out of distribution.
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
    status: str
    reason: str
    model: str
    atoms: Atoms | None


def screen(
    candidates: Iterable[Candidate],
    predictor: Predictor,
    name: str,
    detector: Detector | None,
    known_elements: frozenset[str],
) -> Iterator[ScreenRow]:
    """Yield one row per candidate, in order; nothing is lost.

    Parameters
    ----------
    candidates : iterable of Candidate
    predictor : Predictor
        That predicts the property `name`.
    name : str
        Name of the property.
    detector : Detector or None
        Without one there are no p-values.
    known_elements : frozenset of str
        Elements of the property's training set. The OFM cannot tell elements of one
        column of the periodic table apart, so a candidate with another element is
        out of distribution whatever its p-value.

    Yields
    ------
    ScreenRow

    Raises
    ------
    UnknownPropertyError
        If `predictor` was not built for the property.
    """
    ids, structures = tee(candidates)
    if name not in predictor.properties:
        msg = f"the predictor predicts {', '.join(predictor.properties)}, not {name!r}"
        raise UnknownPropertyError(msg)
    spec = predictor.model.properties[name]
    # a letter first: ase.db takes values that look like numbers for numbers
    model = f"m{predictor.model.sha256[:12]}"
    rows = predictor(candidate.structure for candidate in structures)
    for candidate, row in zip(ids, rows, strict=True):
        p_value, ood, reason = None, None, row.reason
        if row.ok:
            p_value, ood, reason = _judge(row, detector, known_elements)
        yield ScreenRow(
            id=candidate.id,
            formula=reduced_formula(row.atoms),
            value=row.properties[name] if row.ok else None,
            unit=spec.unit,
            ood_p_value=p_value,
            ood=ood,
            status=row.status,
            reason=reason,
            model=model,
            atoms=row.atoms,
        )


def _judge(
    row: PredictionRow, detector: Detector | None, known_elements: frozenset[str]
) -> tuple[float | None, bool | None, str]:
    """Return p-value, flag and reason of a candidate that has a prediction."""
    from mftscreen.ood import orbital_field_matrix

    assert row.atoms is not None
    unseen = sorted(set(row.atoms.symbols) - known_elements)
    reasons = []
    if unseen:
        reasons.append(f"not in the training set: {', '.join(unseen)}")
    if detector is None:
        return None, True if unseen else None, "; ".join(reasons)
    try:
        vector = orbital_field_matrix(row.atoms)
    except StructureError as error:
        reasons.append(f"no OFM: {error}")
        # without a density nothing says that it is like the training set
        return None, True, "; ".join(reasons)
    p_value = float(detector.p_value(vector[None])[0])
    return p_value, bool(unseen) or p_value <= detector.alpha, "; ".join(reasons)
