"""Faults of rows: contradictions, extremes, what is in test data only."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.data.findings import CheckedRow, Finding, find_conflicts, find_faults


def row(name: str, label: float, symbol: str = "Cu", in_test: bool = False):
    return CheckedRow(name, "test" if in_test else "a", in_test, bulk(symbol), label)


def others() -> list[CheckedRow]:
    """Return eleven structures, 1 % of whose interquartile range is 0.05."""
    return [row(f"o{k}", float(k)) for k in range(11)]


def conflicts(*same: CheckedRow) -> list[Finding]:
    """Return what is said of rows that have one structure, among others."""
    rows = [*others(), *same]
    groups = np.array([*range(11), *[11] * len(same)])
    return find_conflicts(rows, groups, "eV")


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ((3.0, 3.03), None),
        ((3.0, 3.2), "conflicting labels"),
        ((3.0, 3.03, 3.2), "conflicting labels"),
        ((0.0, 3.0), "conflicting labels"),
        ((2e-3, 2.0), "units"),
        ((-2e-3, -2.0), "units"),
        ((-2e-3, 2.0), "conflicting labels"),
    ],
)
def test_labels_of_one_structure(labels: tuple[float, ...], kind: str | None) -> None:
    found = conflicts(*(row(f"s{k}", label) for k, label in enumerate(labels)))
    assert [finding.kind for finding in found] == ([] if kind is None else [kind])
    for finding in found:
        assert finding.rows == tuple(f"s{k}" for k in range(len(labels)))


def test_labels_of_tests_do_not_widen_what_is_alike() -> None:
    far = [row(f"t{k}", 1e4 * k, in_test=True) for k in range(20)]
    rows = [*others(), row("s0", 3.0), row("s1", 3.2), *far]
    groups = np.array([*range(11), 11, 11, *range(12, 32)])
    (found,) = find_conflicts(rows, groups, "eV")
    assert found.rows == ("s0", "s1")
    assert find_conflicts([], np.empty(0, dtype=int), None) == []


def test_what_is_a_problem_and_what_a_remark() -> None:
    rows = [
        *others(),
        row("far", 200.0),
        row("farther", -300.0),
        row("o3", 3.5, in_test=True),
        row("new", 4.0, "Ag", in_test=True),
    ]
    groups = np.array([*range(13), 3, 14])
    problems, remarks = find_faults(rows, [], ["a", "test"], groups, "eV")
    assert [finding.kind for finding in problems] == [
        "repeated ids", "train and test", "conflicting labels",
    ]  # fmt: skip
    assert problems[1].message.endswith("labels 3, 3.5")
    extreme, new = remarks
    assert (extreme.kind, extreme.rows) == ("extreme labels", ("farther", "far"))
    assert (new.kind, new.rows) == ("new elements", ("new",))


def test_equal_labels_have_no_extremes() -> None:
    rows = [row(f"r{k}", 1.0) for k in range(20)] + [row("other", 9.0)]
    assert find_faults(rows, [], ["a"], np.arange(21), None) == ((), ())
