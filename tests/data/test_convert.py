"""Labelled data in other formats; what the command does is in tests/cli."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from mftscreen.data.convert import find_format, read_frames, write_labelled
from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_force_field, read_labelled
from mftscreen.errors import DataError

GAP = {"gap": np.asarray(1.5)}


@pytest.mark.parametrize(
    ("name", "expected"), [("a.extxyz", "extxyz"), ("a.XYZ", "extxyz"), ("a.db", "db")]
)
def test_names_of_formats(name: str, expected: str) -> None:
    assert find_format(Path(name)) == expected


@pytest.mark.parametrize("name", ["a", "a.csv", "a.extxyz.gz", "a.cif"])
def test_names_of_no_format(name: str) -> None:
    with pytest.raises(DataError, match="does not tell the format"):
        find_format(Path(name))


@pytest.mark.parametrize("data_format", ["extxyz", "db", "npy", "csv"])
def test_nothing_to_write_leaves_nothing(tmp_path: Path, data_format: str) -> None:
    name = {"extxyz": "o.xyz", "db": "o.db"}.get(data_format, "o")
    with pytest.raises(DataError, match=r"no rows to write|no structures to write"):
        write_labelled([], tmp_path / name, data_format, ["gap"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data_format", ["extxyz", "db"])
def test_only_the_labels_asked_for_are_written(
    tmp_path: Path, data_format: str
) -> None:
    atoms = bulk("Si")
    atoms.info["note"] = "not to be kept"
    labels = GAP | {"energy": np.asarray(-3.0), "force": np.zeros((2, 3))}
    rows = [LabelledStructure(name, atoms, labels) for name in ("a", "b")]
    path = tmp_path / ("o.xyz" if data_format == "extxyz" else "o.db")
    assert write_labelled(rows, path, data_format, ["gap"]) == 2
    assert [float(row.labels["gap"]) for row in read_labelled(path, "gap")] == [1.5] * 2
    assert "not to be kept" not in path.read_bytes().decode("latin-1")
    with pytest.raises(DataError, match="needs energy and forces"):
        list(read_force_field(path))
    assert atoms.info == {"note": "not to be kept"}
    assert atoms.calc is None


def test_frames_without_forces_may_have_been_meant_for_a_property(
    tmp_path: Path,
) -> None:
    crystals = [bulk("Si"), bulk("Ge")]
    for k, atoms in enumerate(crystals):
        atoms.info = {"id": k, "gap": 1.1, "n": 3.4, "note": "x"}
    write(tmp_path / "in.extxyz", crystals)
    with pytest.raises(DataError, match=r"name its label: gap, n$"):
        list(read_frames(tmp_path / "in.extxyz"))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *(
            ("o.db", name)
            for name in ("charge", "mass", "volume", "get", "tags", "masses")
        ),
        *(("o.xyz", name) for name in ("id", "a=b", "pbc", "Energy", "FORCES")),
        *((name, "force") for name in ("o.xyz", "o.db")),
        *((name, "virial") for name in ("o.xyz", "o.db")),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, name: str, label: str
) -> None:
    path = tmp_path / name
    rows = [LabelledStructure("a", bulk("Si"), {label: np.asarray(1.5)})]
    with pytest.raises(DataError, match="--as"):
        write_labelled(rows, path, find_format(path), [label])
    assert not path.exists()


@pytest.mark.parametrize(
    "label", ["a b", "a[", "band gap (eV)", "dipole", "Dipole", "free_energy"]
)
def test_other_names_are_read_again(tmp_path: Path, label: str) -> None:
    rows = [LabelledStructure("a", bulk("Si"), {label: np.asarray(1.5)})]
    write_labelled(rows, tmp_path / "o.xyz", "extxyz", [label])
    (row,) = read_labelled(tmp_path / "o.xyz", label)
    assert float(row.labels[label]) == 1.5


@pytest.mark.parametrize("name", ["o.xyz", "o.db", "o"])
def test_an_element_that_there_is_not(tmp_path: Path, name: str) -> None:
    atoms = bulk("Si")
    atoms.numbers[0] = 150
    rows = [LabelledStructure("a", atoms, GAP)]
    kind = "npy" if name == "o" else find_format(Path(name))
    with pytest.raises(DataError, match="row a: an atomic number is that of no"):
        write_labelled(rows, tmp_path / name, kind, ["gap"])
