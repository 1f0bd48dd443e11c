from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import ConfigError
from mftscreen.screen.candidates.elements import ElementFilter

PEROVSKITE = Atoms("PbTiO3")


@pytest.mark.parametrize(
    "limits", [ElementFilter(), ElementFilter(3), ElementFilter(9)]
)
def test_enough_elements_are_allowed(limits: ElementFilter) -> None:
    assert limits.reason(PEROVSKITE.symbols) is None


def test_too_many_elements() -> None:
    reason = ElementFilter(2).reason(PEROVSKITE.symbols)
    assert reason == "3 elements, at most 2 are allowed"
    assert ElementFilter(2).reason(bulk("MgO", "rocksalt", a=4.2).symbols) is None


def test_excluded_elements_are_named() -> None:
    limits = ElementFilter(exclude=frozenset({"Pb", "O", "Cd"}))
    assert limits.reason(PEROVSKITE.symbols) == "excluded elements: O, Pb"
    assert limits.reason(bulk("Si").symbols) is None


def test_symbols_are_not_letters() -> None:
    assert ElementFilter(exclude=frozenset({"C"})).reason(["Ca", "Cl", "Cl"]) is None


def test_structure_without_atoms_is_left_to_the_checks() -> None:
    assert ElementFilter(1, frozenset({"Pb"})).reason([]) is None


def test_all_problems_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        ElementFilter(0, frozenset({"pb", "Xx", "X", "O"}))
    assert caught.value.problems == [
        "max_elements: 0 is not at least 1",
        "exclude: 'X' is not a chemical symbol",
        "exclude: 'Xx' is not a chemical symbol",
        "exclude: 'pb' is not a chemical symbol; did you mean Pb?",
    ]
