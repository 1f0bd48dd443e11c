"""Files that were read wrongly or refused without need, each with what is right."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from mftscreen.data.readers import iter_rows
from mftscreen.data.sources import read_force_field
from mftscreen.errors import DataError
from mftscreen.predictor import Predictor
from mftscreen.screen.candidates.stream import Candidate, iter_candidates

CASES = Path(__file__).parent / "cases"
SHARE = 2e-3
"""How much, relatively, a prediction may differ."""


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    from mftscreen.model.loading import load_model

    # the right values are of its neural head
    model = load_model("mft-mini-crystals", neural=True, device="cpu")
    return Predictor(model, properties=["dielectric"])


def read(name: str) -> list[Candidate]:
    return list(iter_candidates(CASES / name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dielectric"),
    [
        ("37-Pn-3m-cuprite-2.cif", 3.064),
        ("34-I41amd-origin2-anatase.cif", 2.659),
        ("03-fd3m-colon2.cif", 1.761),
        ("32-R3mR-LiCoO2.cif", 3.026),
        ("10-Fm-3m.cif", 1.797),
        ("86-lattice-lowercase.extxyz", 1.797),
        ("99-gpumd.xyz", 1.797),
        ("92-bom.extxyz", 1.797),
        ("60-ase-atoms.json", 1.797),
        ("65-pmg-occ-roundoff.json", 1.797),
        ("66-pmg-spin.json", 1.797),
        ("51-POSCAR-charged", 1.797),
        ("53-POSCAR-lowcase", 1.797),
        ("D-skewed.extxyz", 1.7964),
    ],
)
def test_prediction_is_that_of_the_right_crystal(
    predictor: Predictor, name: str, dielectric: float
) -> None:
    (candidate,) = read(name)
    assert candidate.atoms is not None
    (row,) = predictor([candidate.atoms])
    assert row.status == "ok"
    assert row.properties["dielectric"] == pytest.approx(dielectric, rel=SHARE)


@pytest.mark.parametrize(
    ("name", "formulas"),
    [
        ("37-Pn-3m-cuprite-2.cif", ["Cu4O2"]),
        ("34-I41amd-origin2-anatase.cif", ["Ti4O8"]),
        ("03-fd3m-colon2.cif", ["Mg8Al16O32"]),
        ("32-R3mR-LiCoO2.cif", ["LiCoO2"]),
        ("10-Fm-3m.cif", ["Mg4O4"]),
        ("14-unknown-occ.cif", ["SrTiO3"]),
        ("20-third-coords.cif", ["Zn2O2"]),
        ("86-lattice-lowercase.extxyz", ["Mg4O4"]),
        ("99-gpumd.xyz", ["Mg4O4"]),
        ("60-ase-atoms.json", ["MgO"]),
        ("65-pmg-occ-roundoff.json", ["MgO"]),
        ("66-pmg-spin.json", ["MgO"]),
        ("68-pandas-columns.json", ["MgO", "LiH"]),
        ("72-pmg-molecule.json", ["COH4"]),
        ("92-bom.extxyz", ["Mg4O4"]),
        ("97-id-column-int.extxyz", ["Mg4O4"] * 8),
        ("99d-D.xyz", ["OH2"]),
        ("51-POSCAR-charged", ["Mg4O4"]),
        ("53-POSCAR-lowcase", ["Mg4O4"]),
        ("D-skewed.extxyz", ["MgO"]),
    ],
)
def test_composition_and_periodicity(name: str, formulas: list[str]) -> None:
    found = [c.atoms for c in read(name)]
    assert [str(atoms.symbols) for atoms in found] == formulas
    periodic = name not in ("72-pmg-molecule.json", "99d-D.xyz")
    assert all(atoms.pbc.all() == atoms.pbc.any() == periodic for atoms in found)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("35-missing-H-brucite.cif", "make MgO2, but the formula sum is .* no site of"),
        ("16-shared-no-occ.cif", "mixed site: Ge and Sb are in one place"),
        ("28-disorder-group.cif", "disordered: .* disorder groups 1, 2"),
    ],
)
def test_reason_of_a_refusal(name: str, reason: str) -> None:
    (candidate,) = read(name)
    with pytest.raises(Exception, match=reason) as caught:
        raise candidate.structure
    assert type(candidate.structure).__module__ == "mftscreen.errors"
    assert caught.value.status == "invalid_structure"


def test_third_coordinates_give_sites_on_the_axis() -> None:
    (candidate,) = read("20-third-coords.cif")
    distances = candidate.atoms.get_all_distances(mic=True)
    assert distances[np.triu_indices(4, 1)].min() > 1.9


def test_optimade_entries() -> None:
    found = {
        c.id: str(c.structure if c.atoms is None else c.atoms.symbols)
        for c in read("74-optimade.json")
    }
    assert found["x"] == found["slab"] == found["mol"] == found["nodim"] == "MgO"
    assert found["swapped-names"] == "OMg"
    assert "site_attachments" in found["attached"]
    assert found["attached-nofeat"] == (
        "species 'Ow' has H attached, which have no sites"
    )
    assert found["assemblies-nofeat"].startswith("has assemblies")
    assert "partially occupied" in found["half"]
    assert "vacancy, no element" in found["vacancy"]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        (
            "97-id-column-int.extxyz",
            ["7", "007", "7.0", "1e3", "T", "NaN", "mp 12", "1 2 3"],
        ),
        ("92-bom.extxyz", ["abc"]),
        ("60-ase-atoms.json", ["1"]),
        ("68-pandas-columns.json", ["mp-1", "mp-2"]),
        ("B-comment.csv", ["1", "007"]),
        ("B-utf16.csv", ["1", "007"]),
    ],
)
def test_ids_are_as_written(name: str, ids: list[str]) -> None:
    assert [candidate.id for candidate in read(name)] == ids


@pytest.mark.parametrize("name", ["B-comment.csv", "B-utf16.csv"])
def test_cells_of_a_table(name: str) -> None:
    rows = list(iter_rows(CASES / name))
    assert [row.values["gap"] for row in rows] == ["7.8", "1.1"]


def test_columns_of_one_name() -> None:
    with pytest.raises(DataError, match="several columns are called 'gap'"):
        read("B-dupcol.csv")


@pytest.mark.parametrize("name", ["A-ff-stress9.extxyz", "A-ff-virials9_MACE_.extxyz"])
def test_virial_is_that_of_the_stress(name: str) -> None:
    (frame,) = read_force_field(CASES / name)
    assert np.trace(frame.labels["virial"]) == pytest.approx(-1.742983, abs=1e-5)


def test_virial_and_cell_of_gpumd() -> None:
    (frame,) = read_force_field(CASES / "99-gpumd.xyz")
    np.testing.assert_array_equal(frame.labels["virial"], np.eye(3))
    assert frame.labels["energy"] == -47.1
    assert frame.labels["force"].shape == (8, 3)


def test_stress_and_virial_of_opposite_sign() -> None:
    with pytest.raises(
        DataError, match=r"contradict each other: .* -1\.743 eV, .* of opposite sign"
    ):
        list(read_force_field(CASES / "A-ff-virial_stress_disagree.extxyz"))


def test_stress_in_kbar(caplog: pytest.LogCaptureFixture) -> None:
    list(read_force_field(CASES / "A-ff-stress_kbar_vasp_sign.extxyz"))
    assert "56.83 eV/Å^3 (9106 GPa); is the stress in GPa or kbar?" in caplog.text
    caplog.clear()
    list(read_force_field(CASES / "A-ff-stress9.extxyz"))
    assert "GPa" not in caplog.text


def test_labels_of_all_frames_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mftscreen.data.label_report"):
        list(read_force_field(CASES / "99-gpumd.xyz"))
    assert "1 frames; 1 have an energy, 1 forces, 1 a virial" in caplog.text
