from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from mftscreen.domain import total_charge
from mftscreen.errors import ConfigError, DataError
from mftscreen.screen.candidates.carried import (
    carried_values,
    choose_carried,
    find_id,
    without_baggage,
)


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        ("oxide", "oxide"),
        (np.str_("oxide"), "oxide"),
        (3, 3),
        (np.int64(3), 3),
        (1.5, 1.5),
        (np.float32(1.5), 1.5),
        (np.True_, True),
        ("\udcfc", "\\udcfc"),
    ],
)
def test_scalars_travel(value: Any, carried: Any) -> None:
    found = carried_values({"key": value})
    assert found == {"key": carried}
    assert type(found["key"]) is type(carried)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "x" * 301,
        float("nan"),
        np.inf,
        10**400,
        [1],
        {"a": 1},
        np.ones(3),
        b"x",
    ],
)
def test_other_values_stay_behind(value: Any) -> None:
    assert carried_values({"key": value}) == {}


def test_results_of_the_structure_as_it_was_stay_behind() -> None:
    atoms = Atoms("O", info={"energy": "mine"})
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, free_energy=-1.0)
    values = {"energy": "mine", "free_energy": -1.0, "group": "gas"}
    assert carried_values(values, atoms) == {"energy": "mine", "group": "gas"}
    assert len(carried_values({str(k): k for k in range(200)})) == 100


def test_ids_are_found_under_a_key() -> None:
    assert find_id({"mp": " 7 "}, "mp") == "7"
    assert find_id({"mp": 7}, "mp") == "7"
    assert find_id({"mp": None}, "mp") is find_id({"mp": " "}, "mp") is None
    assert find_id({}, "mp") is find_id({"mp": 7}, None) is None
    assert find_id({"id": 7}, "mp") is None
    with pytest.raises(DataError, match="first row has no 'mp' to be named by; there"):
        find_id({"id": 7}, "mp", required=True)


def test_only_what_can_be_sent_stays_with_a_structure() -> None:
    atoms = Atoms("O", info={"note": "x"})
    assert without_baggage(atoms) is atoms
    atoms.info["callback"] = lambda: None
    atoms.calc = object()
    light = without_baggage(atoms)
    assert light.info == {"note": "x"}
    assert light.calc is None
    assert set(atoms.info) == {"note", "callback"}  # not changed


def test_names_are_chosen() -> None:
    held = ["group", "note"]
    assert choose_carried(True, held) == held
    assert choose_carried(False, held) == []
    assert choose_carried("note , group", held) == ["note", "group"]
    assert choose_carried(("note", "note"), held) == ["note"]
    with pytest.raises(ConfigError, match="has Note; there is group, note"):
        choose_carried(["Note"], held)


def test_what_a_row_says_of_its_charge_counts_more_than_an_attribute() -> None:
    atoms = bulk("Si")
    atoms.charge = 0  # as pymatgen's adaptor has it
    atoms.info = {"total_charge": 2, "large": np.zeros(1000)}
    assert total_charge(without_baggage(atoms)) == total_charge(atoms) == 2
    atoms.info = {f"k{k}": k for k in range(120)} | {"total_charge": 2}
    assert total_charge(without_baggage(atoms)) == 2
    atoms.info = {"large": np.zeros(1000)}
    atoms.charge = 1
    assert total_charge(without_baggage(atoms)) == 1
