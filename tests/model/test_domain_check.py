"""What the heads on a card say of structures."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.errors import OutsideDomainError, UnknownElementError
from mftscreen.model.domain_check import (
    check_elements,
    doubts_of_energy,
    judge_properties,
)
from mftscreen.model.files.bundle import ModelCard, read_bundle

MGO = bulk("MgO", "rocksalt", a=4.2)


@pytest.fixture
def card(bulk_model: Path) -> ModelCard:
    return read_bundle(bulk_model).card


def test_what_a_head_is_for(card: ModelCard) -> None:
    check = judge_properties(card, MGO, ["gap"])
    assert (check.refused, check.unseen_elements, check.doubts) == ({}, {}, {})
    check = judge_properties(card, molecule("H2O"), ["gap"])
    assert isinstance(check.refused["gap"], OutsideDomainError)
    assert check.unseen_elements == {"gap": ("H",)}
    lenient = judge_properties(card, molecule("H2O"), ["gap"], lenient=True)
    assert not lenient.refused
    assert lenient.doubts == {"gap": ("it is for crystals, and this is not periodic",)}


def test_formula_units_of_another_size(card: ModelCard) -> None:
    head = card.properties["gap"]
    spec = head.spec.model_copy(update={"formula_atoms": 2})
    heads = {"gap": head.model_copy(update={"spec": spec})}
    card = card.model_copy(update={"properties": heads})
    assert not judge_properties(card, MGO.repeat((2, 1, 1)), ["gap"]).refused
    check = judge_properties(card, bulk("Mg"), ["gap"])
    assert "formula units of 2 atoms, and this one's has 1" in str(check.refused["gap"])
    both = str(judge_properties(card, molecule("H2O"), ["gap"]).refused["gap"])
    assert both.startswith(
        "gap: it is for crystals, and this is not periodic; gap (eV)"
    )
    lenient = judge_properties(card, molecule("H2O"), ["gap"], lenient=True)
    assert [doubt.partition(",")[0] for doubt in lenient.doubts["gap"]] == [
        "it is for crystals", "gap (eV) is of formula units of 2 atoms",
    ]  # fmt: skip


def test_forces_on_elements_never_seen(card: ModelCard) -> None:
    check_elements(card, MGO)
    with pytest.raises(UnknownElementError, match="Si, which the energy head oxides"):
        check_elements(card, bulk("Si"))
    nothing_said = card.model_copy(update={"force_field_domains": {}})
    check_elements(nothing_said, bulk("Si"))
    assert doubts_of_energy(nothing_said, Atoms("O2")) == ()
    assert doubts_of_energy(card, MGO) == ()
    (doubt,) = doubts_of_energy(card, Atoms("O2"))
    assert doubt.startswith("it is for crystals")
