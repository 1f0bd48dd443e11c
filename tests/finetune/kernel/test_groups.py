"""Rows that are held out together."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.kernel.groups import SubstanceKeys, draw_folds, group_numbers

METALS = [bulk(s, "fcc", a=4.0) for s in ("Cu", "Ag", "Au", "Ni", "Al", "Pt", "Pd")]


def _rows(
    structures: list[Atoms], ids: list[str] | None = None
) -> list[LabelledStructure]:
    names = ids or [f"row {k}" for k in range(len(structures))]
    return [LabelledStructure(*each) for each in zip(names, structures, strict=True)]


def fold_numbers(rows: list[LabelledStructure], n_folds: int, seed: int) -> np.ndarray:
    return draw_folds(group_numbers(SubstanceKeys.of(rows)), n_folds, seed)


def test_crystals_of_one_formula_share_a_fold() -> None:
    oxides = [bulk("MgO", "rocksalt", a=4.0 + 0.1 * k) for k in range(4)]
    folds = fold_numbers(_rows([*oxides, *METALS]), 5, seed=1)
    assert len(set(folds[:4])) == 1
    assert set(folds) == set(range(5))


def test_a_molecule_shares_its_fold_with_its_copies_and_conformers() -> None:
    ethanol = molecule("CH3CH2OH")
    copies = []
    for k in range(5):
        copy = ethanol.copy()
        copy.rotate(40.0 * k, "xyz")
        copy.positions += k
        copies.append(copy[np.random.default_rng(k).permutation(len(copy))])
    conformer = ethanol.copy()
    conformer.rattle(0.05, seed=1)
    names = ["CH3OCH3", "H2O", "CH4", "C6H6", "NH3", "CO2", "C2H2", "C2H4", "H2CO"]
    names += ["HCN", "N2", "CH3OH"]
    rows = _rows([*copies, conformer, *map(molecule, names)])
    assert len(set(fold_numbers(rows, 5, seed=3)[:6])) == 1
    # dimethyl ether is an isomer of it, and another molecule
    many = [fold_numbers(rows, 5, seed=seed)[[0, 6]] for seed in range(8)]
    assert any(own != isomer for own, isomer in many)


def test_rows_of_one_id_share_a_fold() -> None:
    ids = ["same", "b", "c", "same", "e", "f", "same"]
    folds = fold_numbers(_rows([*METALS, *METALS[:1]], [*ids, "h"]), 7, seed=0)
    assert folds[0] == folds[3] == folds[6] == folds[7]
    assert len(set(folds)) == 5


def test_polymorphs_of_one_compound_are_told_apart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    polymorphs = [bulk("MgO", "rocksalt", a=4.0 + 0.1 * k) for k in range(10)]
    with caplog.at_level(logging.WARNING):
        folds = fold_numbers(_rows([*polymorphs, polymorphs[0] * (2, 1, 1)]), 5, seed=0)
    assert set(folds) == set(range(5))
    assert folds[-1] == folds[0]
    assert "one substance (MgO) has 100 % of the rows" in caplog.text


@pytest.mark.parametrize("n_same", [19, 20])
def test_rows_of_an_id_that_nearly_all_have_are_told_apart(n_same: int) -> None:
    metals = [bulk("Cu", "fcc", a=3.0 + 0.1 * k) for k in range(20)]
    ids = ["all"] * n_same + ["other"] * (20 - n_same)
    assert set(fold_numbers(_rows(metals, ids), 5, seed=0)) == set(range(5))


def _keys(ids: list[str], formulas: list[str | None]) -> SubstanceKeys:
    n = len(ids)
    return SubstanceKeys(ids, list(range(n)), [None] * n, formulas)


def test_two_groups_need_no_word(caplog: pytest.LogCaptureFixture) -> None:
    numbers = group_numbers(_keys(["a", "a", "a", "b", "b", "b"], [*"ABBCDD"]))
    assert numbers.tolist() == [0, 0, 0, 1, 1, 1]
    # of which formulas cannot be told apart
    found = group_numbers(_keys(["all"] * 6 + [*"efgh"], [*"ABCDEFGGHH"]))
    assert len(set(found[:6])) == 1
    assert found[6] == found[7] != found[8] == found[9]
    assert not caplog.records


@pytest.mark.parametrize(
    ("ids", "formulas", "expected", "told"),
    [
        ([*"abcd"], [*"AABB"], [0, 1, 2, 3], "one substance (A) has 50 % of the rows"),
        (
            [*"abcabcabcabc"],
            [*"AAAABBBBCCCC"],
            [0, 1, 2] * 4,
            "substances that several ids or groups have in common join 100 % of",
        ),
        (
            ["group g"] * 23 + ["group h"] * 2,
            ["A", "A", *map(str, range(23))],
            [0, *range(24)],
            "one id or group ('group g' has 23) would join 92 % of all: ids and groups "
            "do not count",
        ),
    ],
)
def test_what_is_not_held_out_together_is_told(
    ids: list[str],
    formulas: list[str | None],
    expected: list[int],
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert group_numbers(_keys(ids, formulas)).tolist() == expected
    (record,) = caplog.records
    assert told in record.getMessage()


def test_rows_of_one_structure_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    keys = SubstanceKeys([*"aabb"], [0] * 4, [None] * 4, ["A"] * 4)
    assert group_numbers(keys).tolist() == [0, 1, 2, 3]
    (record,) = caplog.records
    assert "one structure has 100 % of the rows" in record.getMessage()


def test_two_rows_are_two_folds() -> None:
    assert sorted(fold_numbers(_rows(METALS[:2]), 5, seed=0)) == [0, 1]


def test_keys_of_some_rows_are_those_of_these_rows() -> None:
    rows = _rows([*METALS, *map(molecule, ("H2O", "CH4"))])
    some = SubstanceKeys.of(rows).take([1, 7])
    alone = SubstanceKeys.of([rows[1], rows[7]])
    assert (some.ids, some.bonds) == (alone.ids, alone.bonds)
    assert some.formulas == alone.formulas == ["Ag", None]
