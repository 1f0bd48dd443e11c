"""The sentence on top of a diagnosis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mftscreen.diagnostics.diagnosis import DataSetDiagnosis, Diagnosis
from mftscreen.diagnostics.finding import say_finding


def made_up(diagnosis: Diagnosis, *sets: tuple[str, float, float | None]) -> Diagnosis:
    """Return a diagnosis of data sets with these W1 and ratios of indices."""
    template = diagnosis.data_sets[0]
    assert template.atoms is not None
    found: list[DataSetDiagnosis] = []
    for name, w1, ratio in sets:
        atoms = None
        if ratio is not None:
            clusters = template.atoms
            before = replace(clusters.pretrained, in_descriptor=(2.0, 4.0))
            indices = (2.0 * (ratio - 0.1), 4.0 * (ratio + 0.1))
            after = replace(clusters.fine_tuned["ft"], in_descriptor=indices)
            atoms = replace(clusters, pretrained=before, fine_tuned={"ft": after})
        drift = replace(template.drift["ft"], w1=w1)
        found.append(replace(template, name=name, drift={"ft": drift}, atoms=atoms))
    return replace(diagnosis, data_sets=tuple(found))


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (
            [("train", 3.0, None), ("id", 3.1, 0.9), ("ood", 3.2, 1.05)],
            "No sign of collapse: kinds of atoms in ood are as well apart as before "
            "(Davies-Bouldin index 1.05 times the pretrained one); no other atoms have "
            "drifted much farther than those in train (W1 3.2 and 3).",
        ),
        (
            [("train", 3.0, None), ("ood", 6.0, 0.5)],
            "No sign of collapse: kinds of atoms in ood are better apart than before "
            "(Davies-Bouldin index 0.50 times the pretrained one); atoms in ood have "
            "drifted farther than those in train (W1 6 and 3), a sign of overfitting.",
        ),
        (
            [("a", 3.0, 1.6), ("b", 3.0, 1.5)],
            "A sign of collapse: kinds of atoms in a are less well apart than before "
            "(Davies-Bouldin index 1.60 times the pretrained one).",
        ),
        (
            [("ood", 2.0, 1.0), ("train", 4.0, None)],
            "No sign of collapse: kinds of atoms in ood are as well apart as before "
            "(Davies-Bouldin index 1.00 times the pretrained one); no other atoms have "
            "drifted much farther than those in train (W1 2 and 4).",
        ),
        (
            [("a", 0.0, 1.0), ("b", 0.0, None)],
            "No sign of collapse: kinds of atoms in a are as well apart as before "
            "(Davies-Bouldin index 1.00 times the pretrained one); no atom has "
            "drifted.",
        ),
        (
            [("a", 1.0, None)],
            "Whether there is a collapse cannot be told: no clusters were compared.",
        ),
    ],
)
def test_the_worst_data_set_decides(
    diagnosis: Diagnosis, sets: list[tuple[str, float, float | None]], expected: str
) -> None:
    assert say_finding(made_up(diagnosis, *sets), "ft") == expected
