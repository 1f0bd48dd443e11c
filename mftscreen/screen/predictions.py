"""Predictions for single structures, judged as those of a screening are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ase import Atoms

from mftscreen.errors import MftscreenError
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.result.rows import ScreenRow, make_row
from mftscreen.screen.result.uncertainty import add_intervals
from mftscreen.screen.work.assessment import Assessor, put_together
from mftscreen.screen.work.journal import JournalRow
from mftscreen.screen.work.outcome import Outcome
from mftscreen.structures import shown_formula

__all__ = ["predict_rows"]

CHUNK = 512
"""Structures read ahead; within a chunk those of similar size share a batch."""


def predict_rows(
    candidates: Iterable[Candidate],
    model: LoadedModel,
    properties: Sequence[str],
    *,
    energy: bool = False,
    alpha: float = 0.05,
    coverage: float = 0.9,
) -> Iterator[tuple[ScreenRow, float | None]]:
    """Yield what a model says of structures, in their order.

    Parameters
    ----------
    candidates : iterable of Candidate
        Read in chunks.
    model : LoadedModel
    properties : sequence of str
        To predict.
    energy : bool, default False
        Whether to predict the energy, too.
    alpha, coverage : float
        As in :func:`mftscreen.rank`.

    Yields
    ------
    row : ScreenRow
        With the structure, and with intervals where these are claimed.
    energy : float or None
        In eV.
    """
    assess = Assessor(model, properties, energy=energy)
    names = [*properties, "energy"] if energy else properties
    stream = iter(candidates)
    while chunk := list(islice(stream, CHUNK)):
        structures = [c.structure for c in chunk if isinstance(c.structure, Atoms)]
        assessments = iter(assess(structures))
        rows, energies = [], []
        for candidate in chunk:
            atoms, value = None, None
            if isinstance(candidate.structure, MftscreenError):
                error = candidate.structure
                outcome = Outcome(error.status, str(error))
            else:
                atoms = candidate.structure
                found = next(assessments)
                value = found[0].energy
                before = Outcome(formula=shown_formula(atoms))
                outcome = put_together(before, [found])
            entry = JournalRow(candidate.id, outcome, "", atoms)
            rows.append(make_row(entry, names, alpha, required=False))
            energies.append(value)
        for name in properties:
            learned = model.card.properties[name].train_range
            calibration = model.calibrations[name]
            add_intervals(rows, name, calibration, learned, coverage, alpha)
        yield from zip(rows, energies, strict=True)
