from __future__ import annotations

import pytest
from pydantic import ValidationError

from mftscreen.properties import PropertySpec


def test_defaults_are_dimensionless_and_intensive() -> None:
    spec = PropertySpec(name="dielectric", label="refractive index")
    assert (spec.unit, spec.intensive) == ("1", True)


def test_json_round_trip() -> None:
    spec = PropertySpec(name="R2", label="extent", unit="Å^2", intensive=False)
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


@pytest.mark.parametrize("name", ["rank", "unit", "ood", "status", "model"])
def test_names_of_other_result_columns_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        PropertySpec(name=name, label="x")


def test_frozen_and_closed() -> None:
    spec = PropertySpec(name="gap", label="gap")
    with pytest.raises(ValidationError, match="frozen"):
        spec.unit = "eV"
    with pytest.raises(ValidationError, match="Extra inputs"):
        PropertySpec(name="gap", label="gap", units="eV")
