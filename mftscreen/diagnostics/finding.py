"""A sentence on whether fine-tuning has made representations collapse."""

from __future__ import annotations

from mftscreen.diagnostics.diagnosis import DataSetDiagnosis, Diagnosis

__all__ = ["MUCH", "say_finding"]

TRAIN = "train"
"""Name of the training set."""

MUCH = 1.25
"""The ratio from which on something counts as changed.

Of Davies-Bouldin indices in the descriptor, the trainings in the table of
``docs/measured.md`` that start from a pretrained model have 0.84 to 1.08, those from
scratch, whose descriptors know one task only, 1.47 to 2.13. Atoms of OOD tests have
drifted 0.68 to 1.06 times as far as those of training sets in eight of ten, and 1.7 and
1.8 times in the others.
"""


def say_finding(diagnosis: Diagnosis, model: str) -> str:
    """Return a sentence on the clusters of atoms and on the drift of all data sets.

    Parameters
    ----------
    diagnosis : Diagnosis
        With the drift of the data set ``train``, that of others is compared.
    model : str
        One of its fine-tuned models.

    Returns
    -------
    str
        A sign of collapse are kinds of atoms that are less well apart in the space of
        the descriptor than before, by a Davies-Bouldin index :data:`MUCH` times as
        large. Atoms of another data set that have drifted :data:`MUCH` times as far as
        those of the training set are a sign of overfitting (arXiv:2601.08486).
    """
    return f"{_separation(diagnosis, model)}{_drift(diagnosis, model)}."


def _separation(diagnosis: Diagnosis, model: str) -> str:
    ratios = {
        each.name: ratio
        for each in diagnosis.data_sets
        if (ratio := _ratio(each, model)) is not None
    }
    if not ratios:
        return "Whether there is a collapse cannot be told: no clusters were compared"
    worst = max(ratios, key=lambda name: ratios[name])
    index = f"Davies-Bouldin index {ratios[worst]:.2f} times the pretrained one"
    kinds = f"kinds of atoms in {worst} are"
    if ratios[worst] >= MUCH:
        return f"A sign of collapse: {kinds} less well apart than before ({index})"
    better = "better apart than" if ratios[worst] <= 1 / MUCH else "as well apart as"
    return f"No sign of collapse: {kinds} {better} before ({index})"


def _drift(diagnosis: Diagnosis, model: str) -> str:
    w1 = {each.name: each.drift[model].w1 for each in diagnosis.data_sets}
    if not any(w1.values()):
        return "; no atom has drifted"
    known = w1.pop(TRAIN, None)
    if known is None or not w1:
        return ""
    farthest = max(w1, key=lambda name: w1[name])
    distances = f"W1 {w1[farthest]:.3g} and {known:.3g}"
    if w1[farthest] >= MUCH * known:
        return (
            f"; atoms in {farthest} have drifted farther than those in {TRAIN} "
            f"({distances}), a sign of overfitting"
        )
    few = f"no other atoms have drifted much farther than those in {TRAIN}"
    return f"; {few} ({distances})"


def _ratio(found: DataSetDiagnosis, model: str) -> float | None:
    return None if found.atoms is None else found.atoms.in_descriptor(model).ratio
