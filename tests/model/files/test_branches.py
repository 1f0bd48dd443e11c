from __future__ import annotations

import pytest

from mftscreen.errors import UnknownHeadError
from mftscreen.model.files.branches import (
    choose_energy_head,
    energy_branches,
    find_branch,
)

HEADS = {
    "Omat24": {"model_branch_alias": ["Default", "Materials"]},
    "SPICE2": {"model_branch_alias": []},
    "spice2": {},
}
DOMAINS = {"crystals": "OMat24", "molecules": "SPICE2"}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("Omat24", "Omat24"),
        ("OMAT24", "Omat24"),
        ("Materials", "Omat24"),
        ("default", "Omat24"),
        ("SPICE2", "SPICE2"),
        ("spice2", "spice2"),
        ("crystals", "Omat24"),
        ("molecules", "SPICE2"),
    ],
)
def test_names_of_heads(name: str, head: str) -> None:
    assert find_branch(HEADS, name, DOMAINS) == head


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("Spice2", "SPICE2, spice2"),
        ("shared", "first, second"),
        ("SHARED", "first, second"),
        ("other", "first, Other"),
    ],
)
def test_ambiguous_name_lists_what_it_may_mean(name: str, heads: str) -> None:
    aliases = {"first": ["shared", "OTHER"], "second": ["shared"], "Other": []}
    parameters = HEADS | {h: {"model_branch_alias": a} for h, a in aliases.items()}
    with pytest.raises(UnknownHeadError) as caught:
        find_branch(parameters, name)
    assert f"{name!r} may be any of the heads {heads};" in str(caught.value)


def test_spelling_decides_before_lower_and_upper_case() -> None:
    parameters = {"a": {"model_branch_alias": ["Oxides"]}, "oxides": {}}
    assert find_branch(parameters, "oxides") == "oxides"
    assert find_branch(parameters, "Oxides") == "a"


def test_heads_own_name_wins_over_a_domain() -> None:
    heads = {"crystals": {}, "OMat24": {}}
    assert find_branch(heads, "crystals", DOMAINS) == "crystals"


def test_unknown_name_lists_heads_aliases_and_domains() -> None:
    with pytest.raises(UnknownHeadError) as caught:
        find_branch(HEADS, "alloys", DOMAINS)
    assert str(caught.value) == (
        "there is no head 'alloys'; the heads are: Omat24 (Default, Materials), "
        "SPICE2, spice2; for crystals: OMat24, for molecules: SPICE2"
    )
    with pytest.raises(UnknownHeadError, match="the heads are: none"):
        find_branch({}, "crystals")


def test_domain_whose_head_is_not_there() -> None:
    with pytest.raises(UnknownHeadError, match="no head 'molecules'; the heads are: a"):
        find_branch({"a": {}}, "molecules", DOMAINS)


def test_energy_heads() -> None:
    kinds = {"a": "ener", "b": "property", "c": "direct_force_ener", "d": "dos"}
    heads = {name: {"fitting_net": {"type": kind}} for name, kind in kinds.items()}
    assert list(energy_branches(heads)) == ["a", "c"]


def test_without_a_choice_the_first_kind_of_structure_decides() -> None:
    assert choose_energy_head(HEADS, None, DOMAINS) == ("Omat24", "crystals")
    assert choose_energy_head(HEADS, "molecules", DOMAINS) == ("SPICE2", None)
    assert choose_energy_head({"a": {}}, None, {}) == ("a", None)
    assert choose_energy_head({}, None, {}) == (None, None)
