"""Reference sets: made of structures, kept in files, opened with care."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import DataError, ModelFileError
from mftscreen.ood import OFMDensityDetector, orbital_field_matrix
from mftscreen.ood.orbitals import table_hash
from mftscreen.ood.reference import (
    Reference,
    build_reference,
    fit_reference,
    open_reference,
    read_reference,
    write_reference,
)

CRYSTALS: dict[str, Atoms] = {
    "mgo": bulk("MgO", "rocksalt", a=4.2),
    "silicon": bulk("Si"),
    "gaas": bulk("GaAs", "zincblende", a=5.6),
    "copper": bulk("Cu"),
}


@pytest.fixture
def reference() -> Reference:
    return fit_reference(CRYSTALS.items())[0]


@pytest.mark.parametrize("table", ["current", "paper"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_vectors_are_those_of_the_structures(table: str, n_jobs: int) -> None:
    detector = OFMDensityDetector(table=table)
    reference, failures = fit_reference(CRYSTALS.items(), detector, n_jobs=n_jobs)
    expected = [orbital_field_matrix(a, table=table) for a in CRYSTALS.values()]
    assert failures == []
    assert reference.detector is detector
    assert np.array_equal(detector.reference_.toarray(), expected)
    assert reference.ids == tuple(CRYSTALS)
    assert reference.formulas == ("MgO", "Si", "GaAs", "Cu")
    assert reference.elements == {"Mg", "O", "Si", "Ga", "As", "Cu"}


def test_structures_without_a_matrix_are_returned_with_the_reason() -> None:
    broken = DataError("frame 7 is not valid extxyz")
    named = [
        ("water", molecule("H2O")),
        *CRYSTALS.items(),
        ("frame", broken),
        ("am", bulk("Am", "fcc", a=4.9)),
        ("am", bulk("Am", "fcc", a=5.0)),
    ]
    reference, failures = fit_reference(named)
    assert reference.ids == tuple(CRYSTALS)
    assert [name for name, _ in failures] == ["water", "frame", "am", "am"]
    assert failures[1][1] is broken
    assert "Am" in str(failures[2][1])


def test_too_few_structures_make_no_detector() -> None:
    reference, failures = fit_reference(
        [("water", molecule("H2O")), ("cu", bulk("Cu"))]
    )
    assert reference.detector is None
    assert len(failures) == 1
    assert reference.to_arrays() == {}
    assert build_reference([molecule("H2O")], ["water"]) == {}
    assert open_reference({}, 0.05, ["H"]) == Reference(elements=frozenset({"H"}))


def test_as_many_ids_as_structures() -> None:
    with pytest.raises(DataError, match="1 ids for 2 structures"):
        build_reference([bulk("Cu"), bulk("Si")], ["cu"])


def test_round_trip_through_a_file(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "reference.npz"
    write_reference(path, reference)
    loaded = read_reference(path, alpha=0.3)
    assert list(tmp_path.iterdir()) == [path]
    assert (loaded.ids, loaded.formulas) == (reference.ids, reference.formulas)
    assert loaded.elements == reference.elements
    assert loaded.detector is not None
    assert reference.detector is not None
    assert loaded.detector.alpha == 0.3
    query = [orbital_field_matrix(bulk("Ge"))]
    assert loaded.detector.p_value(query) == reference.detector.p_value(query)


def test_arrays_of_older_files_have_no_formulas(reference: Reference) -> None:
    arrays = reference.to_arrays()
    del arrays["formulas"]
    loaded = open_reference(arrays, 0.05)
    assert (loaded.formulas, loaded.elements) == ((), None)
    assert loaded.unseen_elements(bulk("Au")) == ()
    known = open_reference(arrays, 0.05, ["Mg", "O"])
    assert known.unseen_elements(bulk("CuO", "rocksalt", a=4.2)) == ("Cu",)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ids", None, "ids has the shape"),
        ("ids", np.array(["a", "b"]), "ids has the shape"),
        ("ids", np.arange(4), "the type int64"),
        ("formulas", np.array(["Cu"] * 5), "formulas has the shape"),
        ("indices", None, "lacks indices"),
        ("data", np.full(3, np.nan), "damaged"),
        ("table_hash", np.array("0" * 16), table_hash("current")),
    ],
)
def test_damaged_reference_sets(
    tmp_path: Path,
    reference: Reference,
    key: str,
    value: np.ndarray | None,
    message: str,
) -> None:
    arrays = reference.to_arrays()
    del arrays[key]
    if value is not None:
        arrays[key] = value
    path = tmp_path / "reference.npz"
    np.savez(path, **arrays)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_reference(path, 0.05)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    ["truncated", "text", "empty", "npy", "pickle", "zip", "missing", "folder"],
)
def test_files_that_are_no_reference_set(
    tmp_path: Path, reference: Reference, damage: str
) -> None:
    path = tmp_path / "reference.npz"
    write_reference(path, reference)
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("a,b\n1,2\n")
    elif damage == "empty":
        path.touch()
    elif damage == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    elif damage == "pickle":
        np.savez(path, ids=np.array([{"a": 1}], dtype=object))
    elif damage == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("card.json", "{}")
    elif damage == "folder":
        path.mkdir()
    with pytest.raises(ModelFileError, match=r"reference\.npz"):
        read_reference(path, 0.05)


def test_an_interrupted_write_leaves_the_old_file_alone(
    tmp_path: Path, reference: Reference
) -> None:
    path = tmp_path / "reference.npz"
    write_reference(path, reference)
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        write_reference(path, replace(reference, detector="broken"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="cannot be written"):
        write_reference(tmp_path / "missing" / "reference.npz", reference)
