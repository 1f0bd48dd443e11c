"""Orbital field matrices of streams: order, failures, processes, the vacuum flag."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, mx2
from ase.calculators.calculator import Calculator

from mftscreen.errors import DataError, MftscreenError
from mftscreen.ood import OFMFeaturizer, orbital_field_matrix


def layer() -> Atoms:
    atoms = mx2("MoS2", vacuum=10.0)
    atoms.pbc = True
    return atoms


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
        assert (row.low_dimensional is None) == (row.status != "ok")
        assert (row.error is None) == (row.status == "ok")
    assert str(rows[2].error) == "frame 2 is not valid extxyz"
    assert np.array_equal(rows[-1].vector, orbital_field_matrix(bulk("Cu")))


def test_options_reach_the_matrix() -> None:
    (row,) = OFMFeaturizer(table="paper", mode="matminer")([layer()])
    expected = orbital_field_matrix(layer(), table="paper", mode="matminer")
    assert np.array_equal(row.vector, expected)
    assert not np.allclose(expected, orbital_field_matrix(layer(), table="paper"))


@pytest.mark.parametrize("mode", ["exact", "matminer"])
def test_vacuum_is_flagged(mode: str) -> None:
    single = Atoms("Si", cell=[12.0, 12.0, 12.0], pbc=True)
    copper, in_a_box, sheet = OFMFeaturizer(mode=mode)([bulk("Cu"), single, layer()])
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
def test_unknown_options(options: dict, message: str) -> None:
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
    for k, row in enumerate(islice(rows, 1500)):
        expected = orbital_field_matrix(bulk("Cu", a=3.6 + 1e-4 * k))
        assert np.array_equal(row.vector, expected)
        assert source.taken <= k + 700
    rows.close()  # does not wait for what nobody will take
    assert source.taken <= 1500 + 700


class Killer:
    """What kills the process that it is sent to."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[int]]:
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_death_of_a_process_is_reported() -> None:
    rows = OFMFeaturizer(n_jobs=2)([bulk("Cu"), DataError(Killer())])
    with pytest.raises(MftscreenError, match=r"process died.*n_jobs"):
        list(rows)
