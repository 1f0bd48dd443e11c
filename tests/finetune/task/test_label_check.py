"""Labels that are refused or named as a training starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.finetune.task.label_check import check_labels
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.properties import PropertySpec
from mftscreen.transforms import Transform, TransformKind

GAPS = [0.5, 1.1, 1.4, 2.0, 2.5, 3.2, 4.0, 5.5]


def _rows(start: int, gaps: Sequence[float]) -> list[LabelledStructure]:
    return [
        LabelledStructure(
            f"row-{k}", bulk("MgO", "rocksalt", a=4 + 0.01 * k), {"gap": np.array(gap)}
        )
        for k, gap in enumerate(gaps, start)
    ]


def _check(
    train: list[LabelledStructure],
    test: list[LabelledStructure] | None = None,
    kind: TransformKind = "identity",
    head: str = "intensive",
) -> None:
    parts = {"train": train, "validation": _rows(50, GAPS[:3]), "ood": test or []}
    transform = Transform.fit(kind, [float(row.labels["gap"]) for row in train])
    spec = PropertySpec(
        name="gap", label="band gap", unit="eV", head=head, transform=transform
    )
    check_labels(TrainingData(parts, ["gap"]), {"gap": spec})


@pytest.mark.parametrize("kind", ["identity", "log10", "standardise"])
def test_usual_labels_need_no_word(
    kind: TransformKind, caplog: pytest.LogCaptureFixture
) -> None:
    _check(_rows(0, GAPS), _rows(20, [6.0, -0.1]), kind)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["identity", "standardise"])
@pytest.mark.parametrize("wrong", [1e30, -1e30, 9.96921e36])
@pytest.mark.parametrize("in_test", [False, True])
def test_labels_beyond_any_scale_are_refused(
    kind: TransformKind, wrong: float, in_test: bool
) -> None:
    train, test = _rows(0, GAPS), _rows(20, [1.0])
    (test if in_test else train).extend(_rows(30, [wrong]))
    with pytest.raises(DataError, match="1 row cannot be used") as caught:
        _check(train, test, kind)
    assert f"row row-30: the label 'gap' is {wrong:.6g}" in str(caught.value)


def test_all_of_them_beyond_any_scale() -> None:
    with pytest.raises(DataError, match="8 rows cannot be used"):
        _check(_rows(0, [1e30 * gap for gap in GAPS]))


def test_logarithms_and_densities_may_be_large(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _check(_rows(0, [10.0 ** (3 * k - 2) for k in range(9)]), kind="log10")
    densities = [1e29 * gap for gap in GAPS]
    train = _rows(0, densities)
    parts = {"train": train, "validation": train[:2]}
    spec = PropertySpec(
        name="gap", label="n", unit="1/m^3", head="intensive",
        transform=Transform.fit("standardise", densities),
    )  # fmt: skip
    check_labels(TrainingData(parts, ["gap"]), {"gap": spec})
    assert not caplog.records


@pytest.mark.parametrize(
    ("kind", "label", "text"),
    [
        ("identity", 99.0, "labels, 1.325 and 3.4: row-30 99"),
        ("identity", -70.0, "labels, 1.325 and 3.4: row-30 -70"),
        ("log10", 1e8, "labels after log10, 0.119944 and 0.529377: row-30 1e+08"),
    ],
)
def test_outliers_are_named(
    kind: TransformKind, label: float, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    test = _rows(30, [label])
    with caplog.at_level(logging.WARNING):
        _check(_rows(0, GAPS), test, kind)
    (record,) = caplog.records
    assert record.getMessage() == (
        "1 labels of 'gap' are more than 10 interquartile ranges beyond the quartiles "
        f"of the training {text}"
    )


def test_contradicting_labels_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = _rows(0, GAPS)
    turned = rows[2].atoms.copy()
    turned.rotate(30, (1, 2, 3), rotate_cell=True)
    rows.append(LabelledStructure("again", turned, {"gap": np.array(4.4)}))
    rows.append(LabelledStructure("same", rows[3].atoms, {"gap": np.array(2.0)}))
    with caplog.at_level(logging.WARNING):
        _check(rows)
    (record,) = caplog.records
    assert record.getMessage() == (
        "1 structures have labels of 'gap' that contradict each other:\n"
        "  row-2, again: one structure with labels 1.4, 4.4"
    )


def test_a_supercell_has_more_of_what_grows_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = _rows(0, GAPS)
    rows += [
        LabelledStructure(f"{row.id} twice", row.atoms * (2, 1, 1), label)
        for row in rows
        for label in [{"gap": 2.0 * row.labels["gap"]}]
    ]
    _check(rows, head="extensive")
    assert not caplog.records
    rows[-1] = LabelledStructure("wrong", rows[-1].atoms, {"gap": np.array(2.0)})
    _check(rows, head="extensive")
    (record,) = caplog.records
    assert record.getMessage() == (
        "1 structures have labels of 'gap' per atom that contradict each other:\n"
        "  row-7, wrong: one structure with labels 2.75, 0.5"
    )


def test_many_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    copies = [
        LabelledStructure(f"copy-{row.id}", row.atoms, {"gap": row.labels["gap"] + 1})
        for row in _rows(0, GAPS)
    ]
    with caplog.at_level(logging.WARNING):
        _check(_rows(0, GAPS) + copies)
    (record,) = caplog.records
    assert record.getMessage().startswith("8 structures have labels of 'gap'")
    assert record.getMessage().endswith("\n  and 3 more")
