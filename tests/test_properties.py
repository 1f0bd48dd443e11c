from __future__ import annotations

import pytest
from ase.build import molecule
from pydantic import ValidationError

from mftscreen.errors import PeriodicityError
from mftscreen.head_forms import HeadKind
from mftscreen.properties import (
    Part,
    PropertySpec,
    own_names,
    suggestion,
)


def test_defaults_are_dimensionless_and_intensive() -> None:
    spec = PropertySpec(name="dielectric", label="refractive index")
    assert (spec.unit, spec.intensive) == ("1", True)


def test_json_round_trip() -> None:
    spec = PropertySpec(name="R2", label="extent", unit="Å^2", head="r2")
    assert PropertySpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("name", ["gap", "log_gvrh", "_x", "n2"])
def test_allowed_names(name: str) -> None:
    assert PropertySpec(name=name, label="x").name == name


@pytest.mark.parametrize("name", ["", "2n", "band gap", "log-g", "a.b", "ε", "gap\n"])
def test_names_of_other_characters_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits and underscores"):
        PropertySpec(name=name, label="x")


@pytest.mark.parametrize("name", ["energy", "stress", "dielectric_tensor", "Si"])
def test_names_that_mean_something_in_ase_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="means something else in ASE"):
        PropertySpec(name=name, label="x")


@pytest.mark.parametrize("name", ["id", "natoms", "formula", "user"])
def test_names_that_ase_databases_reserve_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        PropertySpec(name=name, label="x")


@pytest.mark.parametrize(
    "name",
    [
        *("rank", "front", "unit", "ood", "low_dimensional", "status", "model"),
        *("relax_steps", "gap_unit", "gap_spread", "gap_low", "gap_high"),
    ],
)
def test_names_of_other_result_columns_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        PropertySpec(name=name, label="x")


def test_frozen_and_closed() -> None:
    spec = PropertySpec(name="gap", label="gap")
    with pytest.raises(ValidationError, match="frozen"):
        spec.unit = "eV"
    with pytest.raises(ValidationError, match="Extra inputs"):
        PropertySpec(name="gap", label="gap", units="eV")


def test_first_cards_are_read() -> None:
    for intensive, head in ((True, "intensive"), (False, "extensive")):
        document = {"name": "x", "label": "x", "unit": "eV", "intensive": intensive}
        spec = PropertySpec.model_validate(document)
        assert (spec.head, spec.intensive) == (head, intensive)
        assert "intensive" not in spec.model_dump()


@pytest.mark.parametrize("head", ["r2", "dipole_norm"])
def test_properties_of_molecules_are_not_for_crystals(head: HeadKind) -> None:
    spec = PropertySpec(name="x", label="x", head=head)
    assert not spec.intensive
    water = molecule("H2O", vacuum=3.0)
    spec.check_structure(water)
    water.pbc = (False, False, True)
    with pytest.raises(PeriodicityError, match="property of molecules"):
        spec.check_structure(water)
    PropertySpec(name="x", label="x").check_structure(water)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("dielectric", "dielectric"),
        ("refractive index", "dielectric"),
        ("Refractive-Index", "dielectric"),
        ("GAP", "gap"),
        ("band_gap", "gap"),
        ("cv", "cv"),  # no model here has the heat capacity
        ("dielectric_constant", "dielectric_constant"),
        ("", ""),
    ],
)
def test_people_find_their_property(name: str, own: str) -> None:
    known = {
        "dielectric": PropertySpec(name="dielectric", label="refractive index"),
        "gap": PropertySpec(name="gap", label="band gap", unit="eV"),
    }
    assert own_names([name], known) == {name: [own]}


def test_a_name_is_never_taken_for_another_that_exists() -> None:
    known = {
        "gap": PropertySpec(name="gap", label="HOMO-LUMO gap"),
        "index": PropertySpec(name="index", label="gap"),
    }
    assert own_names(["gap", "index"], known) == {"gap": ["gap"], "index": ["index"]}


def test_close_names_are_suggested() -> None:
    known = {"dielectric": PropertySpec(name="dielectric", label="refractive index")}
    assert suggestion("dielectrics", known) == "; did you mean 'dielectric'?"
    assert suggestion("refractive_indx", known) == "; did you mean 'dielectric'?"
    # the square of it
    assert suggestion("dielectric_constant", known) == ""
    assert suggestion("melting_point", known) == ""
    for index, part in enumerate(("bulk", "shear")):
        known[f"moduli_{part}"] = PropertySpec(
            name=f"moduli_{part}", label=part, part=Part(of="moduli", index=index)
        )
    assert suggestion("modulus", known) == "; did you mean 'moduli'?"
    assert suggestion("moduli_sheer", known) == "; did you mean 'moduli_shear'?"


def test_the_name_of_a_target_comes_before_what_others_mean() -> None:
    known = {"gap": PropertySpec(name="gap", label="moduli")}
    for index, part in enumerate(("bulk", "shear")):
        name = f"moduli_{part}"
        own = Part(of="moduli", index=index)
        known[name] = PropertySpec(name=name, label=part, part=own)
    assert own_names(["moduli"], known) == {"moduli": ["moduli_bulk", "moduli_shear"]}
