"""Orbital field matrices: invariances; streams: order, failures, processes, vacuum."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError, MftscreenError
from mftscreen.ood import OFMFeaturizer, orbital_field_matrix
from mftscreen.ood.ofm.featurizer import N_FEATURES
from mftscreen.ood.ofm.orbitals import ORBITALS, pair_label

DATA = Path(__file__).parent


def rotation() -> np.ndarray:
    matrix, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def test_simple_cubic_by_hand() -> None:
    # six faces of equal solid angle at distance a; polonium has s2, d10, f14 and p4
    vector = orbital_field_matrix(bulk("Po", "sc", a=3.0), table="paper")
    expected = 6 / (3.0 * 1.00001495 / 0.529177210544)
    assert vector.max() == pytest.approx(expected, rel=1e-10)
    assert {pair_label(k).split(" – ")[0] for k in vector.nonzero()[0]} == {
        *("s2", "p4", "d10", "f14")
    }


def test_rows_are_neighbours_and_columns_are_centres() -> None:
    sites = orbital_field_matrix(bulk("NaCl", "rocksalt", a=5.64), per_site=True)
    # valence of Na: s1; of Cl: s2 p5; the six nearest neighbours are of the other kind
    column = ORBITALS.index("p5") * 32 + ORBITALS.index("s1")
    assert pair_label(column) == "p5 – s1"
    assert sites[0, column] > 1.0
    assert sites[1, column] == 0.0


@pytest.mark.parametrize("table", ["current", "paper"])
@pytest.mark.parametrize(
    "named", ["triclinic", "SrTiO3", "LaNi5", "layer"], indirect=True
)
def test_invariances(named: tuple[str, Atoms], table: str) -> None:
    _, atoms = named
    expected = orbital_field_matrix(atoms, table=table)
    changed = {
        "supercell": make_supercell(atoms, [[2, 1, 0], [0, 1, 0], [1, 0, 3]]),
        "permutation": atoms[np.random.default_rng(5).permutation(len(atoms))],
    }
    turned = atoms.copy()
    turned.set_cell(atoms.cell @ rotation(), scale_atoms=True)
    changed["rotation"] = turned
    shifted = atoms.copy()
    shifted.positions += [7.3, -2.1, 40.0]
    changed["translation"] = shifted
    for change, other in changed.items():
        delta = np.abs(orbital_field_matrix(other, table=table) - expected).max()
        assert delta < 1e-10, change


def test_mean_of_sites_and_input_untouched(triclinic: Atoms) -> None:
    atoms = triclinic
    before = atoms.copy()
    sites = orbital_field_matrix(atoms, per_site=True)
    assert sites.shape == (4, 1024)
    assert np.allclose(sites.mean(axis=0), orbital_field_matrix(atoms), atol=1e-14)
    assert atoms == before


def test_unknown_options() -> None:
    with pytest.raises(ValueError, match="table must be"):
        orbital_field_matrix(bulk("Si"), table="old")
    with pytest.raises(ValueError, match="mode must be"):
        orbital_field_matrix(bulk("Si"), mode="fast")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "low_dimensional"),
    [("perovskites", 0), ("dielectric", 1), ("log_gvrh", 0)],
)
def test_structures_of_matbench_have_a_matrix(
    task: str,
    low_dimensional: int,
    matbench: Callable[[str], list[LabelledStructure]],
) -> None:
    flagged = 0
    for row in OFMFeaturizer()(row.atoms for row in matbench(task)[::10]):
        assert row.status == "ok", row.error
        assert np.isfinite(row.vector).all()
        flagged += row.low_dimensional
    assert flagged == low_dimensional


def broken_and_sound() -> list[object]:
    core = pytest.importorskip("pymatgen.core")
    lattice = core.Lattice.cubic(4.0)
    return [
        bulk("Si"),
        Atoms("H"),
        DataError("frame 2 is not valid extxyz"),
        core.Structure(lattice, ["Po"], [[0, 0, 0]]),
        core.Structure(lattice, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]]),
        bulk("Am", "fcc", a=4.9),
        None,
        Atoms("Si2", [[0, 0, 0], [0, 0, 0.1]], cell=[5, 5, 5], pbc=True),
        Atoms("Si", [[np.nan, 0, 0]], cell=[5, 5, 5], pbc=True),
        bulk("Cu"),
    ]


STATUS = [
    "ok",
    "unsupported_pbc",
    "unreadable",
    "ok",
    "invalid_structure",
    "unknown_element",
    "invalid_structure",
    "invalid_geometry",
    "invalid_geometry",
    "ok",
]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_failures_are_rows_in_place(n_jobs: int) -> None:
    rows = list(OFMFeaturizer(n_jobs=n_jobs)(broken_and_sound()))
    assert [row.status for row in rows] == STATUS
    for row in rows:
        assert (row.vector is None) == (row.status != "ok")
        assert (row.max_radius is None) == (row.status != "ok")
        assert (row.log_volume is None) == (row.status != "ok")
        assert (row.features is None) == (row.status != "ok")
        assert (row.low_dimensional is None) == (row.status != "ok")
        assert (row.error is None) == (row.status == "ok")
    assert str(rows[2].error) == "frame 2 is not valid extxyz"
    assert np.array_equal(rows[-1].vector, orbital_field_matrix(bulk("Cu")))


def test_options_reach_the_matrix(layer: Atoms) -> None:
    (row,) = OFMFeaturizer(table="paper", mode="matminer")([layer])
    expected = orbital_field_matrix(layer, table="paper", mode="matminer")
    assert np.array_equal(row.vector, expected)
    assert not np.allclose(expected, orbital_field_matrix(layer, table="paper"))


def test_features_are_the_matrix_and_the_volume() -> None:
    crystals = [bulk("MgO", "rocksalt", a=4.2), bulk("Cu", a=3.6)]
    rows = list(OFMFeaturizer()(crystals))
    # covalent radii (Å) of Cordero et al.: Mg 1.41, O 0.66, Cu 1.32
    packing = [
        4.2**3 / 4 / (1.41**3 + 0.66**3),
        3.6**3 / 4 / 1.32**3,
    ]
    for atoms, row, ratio in zip(crystals, rows, packing, strict=True):
        assert row.log_volume == pytest.approx(np.log(ratio), abs=1e-12)
        assert row.features.shape == (N_FEATURES,)
        assert np.array_equal(row.features[:-1], orbital_field_matrix(atoms))
        assert row.features[-1] == pytest.approx(2.0 * np.log(ratio), abs=1e-12)


def test_features_belong_to_the_crystal_and_not_to_its_cell() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=0)
    rotated = atoms.copy()
    rotated.rotate(37.0, (1, 2, 3), rotate_cell=True)
    left_handed = atoms.copy()
    left_handed.set_cell(atoms.cell[[1, 0, 2]])
    assert left_handed.cell.handedness == -1
    equal = [rotated, atoms * (2, 1, 3), left_handed]
    expected, *others = (row.features for row in OFMFeaturizer()([atoms, *equal]))
    for features in others:
        assert np.allclose(features, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", ["exact", "matminer"])
def test_vacuum_is_flagged(mode: str, layer: Atoms) -> None:
    single = Atoms("Si", cell=[12.0, 12.0, 12.0], pbc=True)
    copper, in_a_box, sheet = OFMFeaturizer(mode=mode)([bulk("Cu"), single, layer])
    assert copper.max_radius == pytest.approx(3.61 / 2)  # the octahedral hole
    assert in_a_box.max_radius == pytest.approx(6 * 3**0.5)  # half the diagonal
    flags = [row.low_dimensional for row in (copper, in_a_box, sheet)]
    assert flags == [False, True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "old"}, "table must be"),
        ({"mode": "fast"}, "mode must be"),
        ({"n_jobs": 0}, "got 0"),
    ],
)
def test_unknown_options_of_a_featurizer(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OFMFeaturizer(**options)


class Source:
    """Crystals, all different, that count how many have been taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[Atoms]:
        while True:
            atoms = bulk("Cu", a=3.6 + 1e-4 * self.taken)
            # cannot be sent to another process, and need not be
            atoms.calc = Calculator()
            atoms.calc.function = lambda: None
            self.taken += 1
            yield atoms


def test_one_process_reads_nothing_ahead() -> None:
    source = Source()
    next(OFMFeaturizer()(source))
    assert source.taken == 1


def test_processes_keep_the_order_and_read_little_ahead() -> None:
    source = Source()
    rows = OFMFeaturizer(n_jobs=2)(source)
    for k, row in enumerate(islice(rows, 900)):
        expected = orbital_field_matrix(bulk("Cu", a=3.6 + 1e-4 * k))
        assert np.array_equal(row.vector, expected)
        assert source.taken <= k + 700
    rows.close()  # does not wait for what nobody will take
    assert source.taken <= 900 + 700


class Killer:
    """What kills the process that it is sent to."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[int]]:
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_death_of_a_process_is_reported() -> None:
    rows = OFMFeaturizer(n_jobs=2)([bulk("Cu"), DataError(Killer())])
    with pytest.raises(MftscreenError, match=r"process died.*n_jobs"):
        list(rows)
