from __future__ import annotations

import pytest

from mftscreen.data.readers.symbols import element, label_element, reason
from mftscreen.errors import StructureError


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("Mg", "Mg"), ("mg", "Mg"), ("MG", "Mg"), ("Mg2+", "Mg"), ("Mg+2", "Mg"),
        ("O2-", "O"), ("Fe3+", "Fe"), ("Na+", "Na"), ("Cl-", "Cl"), ("Sr0+", "Sr"),
        ("Fe2+,spin=4", "Fe"), ("D", "H"), ("D1", "H"), ("Ti_sv", "Ti"), (" O ", "O"),
        ("Fe2.5+", "Fe"), ("Fe+2.667", "Fe"), ("O1.5-", "O"),
    ],
)  # fmt: skip
def test_clear_species(text: str, symbol: str) -> None:
    assert element(text) == symbol


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("X", "dummy atom"), ("Q1", "dummy atom"), ("Va", "vacancy"),
        ("vacancy", "vacancy"), ("T", "tritium"), ("Ow", "no chemical symbol"),
        ("OH-", "no chemical symbol"), ("12", "no chemical symbol"), ("", "no chem"),
        ("Fe2.5", "no chemical symbol"),
    ],
)  # fmt: skip
def test_what_is_no_element(text: str, what: str) -> None:
    with pytest.raises(StructureError, match=f"{text!r} is .*{what}"):
        element(text)


@pytest.mark.parametrize(
    ("label", "symbol"),
    [("Fe1A", "Fe"), ("O12", "O"), ("OW1", "O"), ("Mg", "Mg"), ("c3", "C")],
)
def test_label_of_a_site(label: str, symbol: str) -> None:
    assert label_element(label, set()) == symbol


def test_capitals_are_told_apart_by_the_formula() -> None:
    assert label_element("CA1", {"Ca", "F"}) == "Ca"
    assert label_element("CA1", {"C", "H"}) == "C"
    with pytest.raises(StructureError, match="'CA1' may begin with Ca or C"):
        label_element("CA1", set())


@pytest.mark.parametrize("label", ["Wat1", "Va1", "X1", "Qq1", "1"])
def test_labels_of_no_element(label: str) -> None:
    with pytest.raises(StructureError):
        label_element(label, set())


def test_reasons_are_words() -> None:
    assert reason(KeyError("D")) == "'D' is missing or unknown"
    assert reason(IndexError("list index out of range")).startswith("it is shorter")
    assert reason(AssertionError()) == "not what the format allows (AssertionError)"
