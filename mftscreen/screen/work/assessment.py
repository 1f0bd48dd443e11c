"""What one model says of structures, and how new they are to its training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from ase import Atoms

from mftscreen.screen.work.outcome import Outcome

if TYPE_CHECKING:
    from mftscreen.model.loaded_model import LoadedModel
    from mftscreen.ood.reference.novelty import Novelty
    from mftscreen.ood.reference.reference_set import Reference
    from mftscreen.predictor import PredictionRow

__all__ = ["Assessment", "Assessor", "put_together"]

Assessment = tuple["PredictionRow", "dict[str, Novelty]"]
"""A prediction, and property to the comparison with what it was trained on."""


class Assessor:
    """Predict, and compare with the training sets.

    Parameters
    ----------
    model : LoadedModel
    properties : sequence of str
        Those of the model to predict.
    energy : bool, default False
        Whether to predict the energy, too.

    Attributes
    ----------
    references : dict of str to Reference
        The training set of each property; of equal ones, one object.
    """

    def __init__(
        self, model: LoadedModel, properties: Sequence[str], *, energy: bool = False
    ) -> None:
        from mftscreen.predictor import Predictor

        self._model = model
        self._predictor = Predictor(model, properties=properties, energy=energy)
        self.references = _open_references(model, properties)

    def __call__(self, structures: Sequence[Atoms]) -> list[Assessment]:
        """Return an assessment of each structure.

        Parameters
        ----------
        structures : sequence of Atoms
        """
        from mftscreen.ood.reference.measure import measure_novelty

        rows = list(self._predictor(structures))
        usable = [atoms for atoms, row in zip(structures, rows, strict=True) if row.ok]
        compared: dict[int, list[Novelty]] = {}
        for reference in self.references.values():
            if id(reference) not in compared:
                compared[id(reference)] = list(measure_novelty(usable, reference))
        places = iter(range(len(usable)))
        found: list[Assessment] = []
        for row in rows:
            facts: dict[str, Novelty] = {}
            if row.ok:
                place = next(places)
                facts = {
                    name: replace(
                        compared[id(self.references[name])][place],
                        descriptor_p_value=self._descriptor_p_value(row, name),
                    )
                    for name in row.properties
                }
            found.append((row, facts))
        return found

    def _descriptor_p_value(self, row: PredictionRow, name: str) -> float | None:
        if name not in row.around:
            return None
        calibration = self._model.calibrations[name]
        p_value = float(calibration.descriptor_p_values(row.around[name].distance))
        return p_value if isfinite(p_value) else None


def put_together(before: Outcome, found: Sequence[Assessment]) -> Outcome:
    """Return what models say of one structure, or why one of them failed.

    Parameters
    ----------
    before : Outcome
        With what was done before the prediction.
    found : sequence of Assessment
        One for each model.

    Returns
    -------
    Outcome
    """
    refused: dict[str, str] = {}
    doubts: dict[str, list[str]] = {}
    for row, _ in found:
        if not row.ok:
            return replace(before, status=row.status, reason=row.reason)
        refused |= row.refused
        for name, texts in row.doubts.items():
            own = doubts.setdefault(name, [])
            own += [text for text in texts if text not in own]
    outcome = replace(before, refused=refused, doubts=doubts)
    return outcome.with_predictions(
        [
            {
                name: (value, row.around.get(name), facts[name])
                for name, value in row.properties.items()
                if name not in refused
            }
            for row, facts in found
        ]
    )


def _open_references(model: LoadedModel, names: Sequence[str]) -> dict[str, Reference]:
    from mftscreen.ood.reference.reference_set import open_reference, reference_arrays

    opened: dict[tuple[int, frozenset[str]], Reference] = {}
    found = {}
    for name in names:
        arrays = reference_arrays(model.reference, name)
        elements = frozenset(model.card.properties[name].elements)
        key = (id(arrays.get("data")), elements)
        if key not in opened:
            opened[key] = open_reference(arrays, elements)
        found[name] = opened[key]
    return found
