"""Leave-one-out: labels of structures, and which are left out."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import DataError, StructureError
from mftscreen.ood.splits import (
    SplitData,
    label_structure,
    leave_one_out,
)


def test_leave_one_out_on_elements_and_groups(data: SplitData) -> None:
    split = leave_one_out(data, "elements")
    symbols = dict(zip(data.ids, (a.symbols for a in data.structures), strict=True))
    assert len(split.folds[0].test) == 20
    assert split.folds[0].name == "O"
    assert {fold.name for fold in split.folds} >= {"Li", "Cu", "O", "N"}
    for fold in split.folds:
        assert all(fold.name in symbols[row] for row in fold.test)
        assert not any(fold.name in symbols[row] for row in fold.train + fold.val)
    groups = {
        f.name: len(f.test) for f in leave_one_out(data, "periodictablegroups").folds
    }
    # Cu and Ag; Li, Na and K
    assert groups["group11"] == 20
    assert groups["group1"] == 30


def test_leave_one_out_limits(data: SplitData) -> None:
    # 12 rock salts, 10 fcc metals and silicon
    atoms = [*data.structures[::5], bulk("Si")]
    more = SplitData([str(k) for k in range(23)], atoms, np.arange(23.0))
    names = {fold.name for fold in leave_one_out(more, "prototype").folds}
    assert names == {"225: 4 m-3m"}  # rock salt is more than half of the rows
    every = leave_one_out(more, "prototype", min_test=1, max_share=1.0)
    assert [(fold.name, len(fold.test)) for fold in every.folds] == [
        ("225: 4 m-3m | 4 m-3m", 12),
        ("225: 4 m-3m", 10),
        ("227: 8 -43m", 1),
    ]
    with pytest.raises(DataError, match=r"none of 2 sgnum labels .* 1 to 22 rows"):
        leave_one_out(more, "sgnum")
    with pytest.raises(DataError, match=r"row mol has no sgnum label: .*periodicity"):
        leave_one_out(
            SplitData(["a", "mol"], [bulk("Si"), molecule("H2O")], [0, 1]), "sgnum"
        )
    with pytest.raises(DataError, match=r"by elements, .* got 'element'"):
        leave_one_out(more, "element")


def perovskite(origin: float) -> Atoms:
    places = np.array(
        [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    )
    return Atoms("SrTiO3", scaled_positions=places + origin, cell=[3.9] * 3, pbc=True)


def test_prototypes() -> None:
    def label(atoms: Atoms) -> str:
        return label_structure(atoms, "prototype")[0]

    # Wyckoff letters would differ: Sr in a and O in c, or Sr in b and O in d
    assert label(perovskite(0.0)) == label(perovskite(0.5))
    assert label(perovskite(0.0)) == "221: 1 m-3m | 1 m-3m | 3 4/mmm"
    # neither elements nor size nor a supercell matter, the arrangement does
    salt = bulk("NaCl", "rocksalt", a=5.64)
    assert label(salt) == label(bulk("MgO", "rocksalt", a=4.2, cubic=True))
    assert label(salt) == label(salt.repeat((2, 1, 1)))
    for n in ((2, 1, 1), (1, 2, 3)):  # whose atoms the cell alone makes different
        assert label(perovskite(0.0)) == label(perovskite(0.0).repeat(n))
    assert label(salt) != label(bulk("NaCl", "zincblende", a=5.64))
    assert label(bulk("Fe", "bcc", a=2.9)) != label(bulk("Fe", "fcc", a=3.6))
    # axes of an orthorhombic crystal in any order
    flat = Atoms(
        "OFFe2",
        scaled_positions=[[0, 0, 0.1], [0, 0, 0.6], [0.5, 0, 0.3], [0.5, 0, 0.8]],
        cell=[3.0, 4.0, 7.0],
        pbc=True,
    )
    turned = Atoms(flat.symbols, cell=[4.0, 7.0, 3.0], pbc=True)
    turned.set_scaled_positions(flat.get_scaled_positions()[:, [1, 2, 0]])
    assert label(flat) == label(turned)
    assert "mm2" in label(flat)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pymatgen's use of spglib
def test_space_groups_are_those_of_matfold() -> None:
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    rattled = perovskite(0.0)
    rattled.positions[1] += [0.03, 0.0, 0.0]
    for atoms in (bulk("Ti"), bulk("Si"), rattled, perovskite(0.2)):
        structure = AseAtomsAdaptor.get_structure(atoms)
        expected = SpacegroupAnalyzer(structure, 0.1).get_space_group_symbol()
        assert label_structure(atoms, "sgnum") == [expected]


def test_what_spglib_and_pymatgen_cannot_take_is_named(data: SplitData) -> None:
    broken, unknown = bulk("MgO", "rocksalt", a=4.2), bulk("MgO", "rocksalt", a=4.2)
    broken.positions[1] = np.nan
    unknown.numbers[1] = 0
    flat = bulk("MgO", "rocksalt", a=4.2)
    flat.cell[2] = flat.cell[0] + flat.cell[1]
    for name, atoms, by, message in (
        ("broken", broken, "sgnum", "not finite"),
        ("broken", broken, "prototype", "not finite"),
        ("flat", flat, "sgnum", "no space group"),
        ("flat", flat, "prototype", "no space group"),
        ("unknown", unknown, "periodictablegroups", "X is in no group"),
    ):
        rows = SplitData(["a", name], [data.structures[0], atoms], [1.0, 2.0])
        with pytest.raises(DataError, match=f"row {name} has no {by} label: .*"):
            leave_one_out(rows, by, min_test=1)
        with pytest.raises(StructureError, match=message):
            label_structure(atoms, by)
