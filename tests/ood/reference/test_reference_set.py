"""Reference sets: made of structures, kept in files, opened with care."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.data.readers import iter_matbench
from mftscreen.errors import DataError, ModelFileError
from mftscreen.ood import OFMDensityDetector, OFMFeaturizer, orbital_field_matrix
from mftscreen.ood.ofm.orbitals import table_hash
from mftscreen.ood.reference.reference_set import (
    Reference,
    fit_reference,
    open_reference,
    pack_references,
    read_reference,
    reference_arrays,
    write_reference,
)
from mftscreen.ood.reference.storage import pack_detector

DATA = os.environ.get("MFTSCREEN_DATA")

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
    rows = OFMFeaturizer(table=table)(CRYSTALS.values())
    assert failures == []
    assert reference.detector is detector
    stored = detector.reference_.toarray()
    assert np.array_equal(stored, [row.features for row in rows])
    matrices = [orbital_field_matrix(a, table=table) for a in CRYSTALS.values()]
    assert np.array_equal(stored[:, :-1], matrices)
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
    assert open_reference({}, ["H"]) == Reference(elements=frozenset({"H"}))


@pytest.mark.parametrize(
    ("detector", "fewest"),
    [
        (OFMDensityDetector(), 3),
        (OFMDensityDetector(n_neighbors=1), 2),
        (OFMDensityDetector(n_neighbors=3), 4),
        (OFMDensityDetector(method="kde"), 2),
    ],
)
def test_neighbours_decide_how_many_are_too_few(
    detector: OFMDensityDetector, fewest: int
) -> None:
    named = list(CRYSTALS.items())
    assert fit_reference(named[:fewest], detector)[0].detector is detector
    reference, failures = fit_reference(named[: fewest - 1], detector)
    assert reference.detector is None
    assert reference.ids == tuple(CRYSTALS)[: fewest - 1]
    assert failures == []


def test_twins_are_left_out() -> None:
    named = [*CRYSTALS.items()]
    named += [(f"{name} again", a.repeat((2, 1, 1))) for name, a in CRYSTALS.items()]
    reference, failures = fit_reference(named)
    assert failures == []
    assert reference.ids == tuple(CRYSTALS)
    assert reference.formulas == ("MgO", "Si", "GaAs", "Cu")
    assert reference.n_twins == 4
    copies = [(str(k), bulk("Cu").repeat(k)) for k in (1, 2, 3)]
    assert fit_reference(copies)[0] == Reference(ids=("1",), n_twins=2)


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="MFTSCREEN_DATA is not set")
def test_twins_leave_the_share_of_flagged_rows() -> None:
    source = Path(DATA or "") / "matbench/matbench_dielectric.json.gz"
    rows = [(name, atoms) for name, atoms, *_ in islice(iter_matbench(source), 600)]
    known = [rows[k] for k in np.random.default_rng(0).permutation(600)[:400]]
    names = dict(known)
    new = [atoms for name, atoms in rows if name not in names]
    features = [row.features for row in OFMFeaturizer()(new)]
    shares = []
    for repeat in (None, (1, 1, 1), (2, 1, 1)):
        twins = known if repeat is not None else []
        twins = [(f"{name} again", atoms.repeat(repeat)) for name, atoms in twins]
        detector = fit_reference(known + twins)[0].detector
        assert detector is not None
        shares.append(np.mean(detector.predict(features) == -1))
    assert shares[0] == shares[1] == shares[2]
    assert 0.0 < shares[0] < 0.1


def test_round_trip_through_a_file(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "reference.npz"
    write_reference(path, reference)
    loaded = read_reference(path)
    assert list(tmp_path.iterdir()) == [path]
    assert (loaded.ids, loaded.formulas) == (reference.ids, reference.formulas)
    assert loaded.elements == reference.elements
    assert loaded.detector is not None
    assert reference.detector is not None
    query = [row.features for row in OFMFeaturizer()([bulk("Ge")])]
    assert loaded.detector.p_value(query) == reference.detector.p_value(query)


def test_formulas_may_be_missing(reference: Reference) -> None:
    arrays = reference.to_arrays()
    del arrays["formulas"]
    loaded = open_reference(arrays)
    assert (loaded.formulas, loaded.elements) == ((), None)
    assert loaded.unseen_elements(bulk("Au")) == ()
    known = open_reference(arrays, ["Mg", "O"])
    assert known.unseen_elements(bulk("CuO", "rocksalt", a=4.2)) == ("Cu",)


def test_matrices_without_a_volume_are_refused() -> None:
    matrices = [orbital_field_matrix(atoms) for atoms in CRYSTALS.values()]
    arrays = pack_detector(OFMDensityDetector().fit(matrices))
    arrays["ids"] = np.array(list(CRYSTALS))
    message = r"1024 features, this version has 1025; .*'mftscreen ood fit'"
    with pytest.raises(ModelFileError, match=message):
        open_reference(arrays)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ids", None, "ids has the shape"),
        ("ids", np.array(["a", "b"]), "ids has the shape"),
        ("ids", np.arange(4), "the type int64"),
        ("shape", np.array([4, 10**13]), "10000000000000 features"),
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
        read_reference(path)
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
        read_reference(path)


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


def test_properties_of_the_same_rows_share_a_stored_set() -> None:
    crystals = [bulk("MgO", "rocksalt", a=a) for a in (4.0, 4.1, 4.2, 4.3)]
    others = [bulk("Cu"), bulk("Al"), bulk("Na")]
    oxides = fit_reference(zip("abcd", crystals, strict=True))[0].to_arrays()
    metals = fit_reference(zip("xyz", others, strict=True))[0].to_arrays()
    packed = pack_references({"a": oxides, "b": metals, "c": oxides, "d": {}})
    assert sum(key.endswith("/data") for key in packed) == 2
    for name, arrays in {"a": oxides, "b": metals, "c": oxides, "d": {}}.items():
        found = reference_arrays(packed, name)
        assert found.keys() == arrays.keys()
        assert all(found[key] is arrays[key] for key in arrays)
    # files of earlier versions have one set for all
    assert reference_arrays(oxides, "a") is oxides
