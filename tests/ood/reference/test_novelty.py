"""The verdict on a structure, and comparisons with several reference sets."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mftscreen.ood.reference.novelty import Novelty, flag, merge, usable_p_values

p_values = st.none() | st.integers(1, 20).map(lambda k: k / 20)
names = st.lists(st.sampled_from(["K", "Mg", "O", "W"]), unique=True, max_size=3)
novelties = st.builds(
    Novelty,
    p_value=p_values,
    far=st.sampled_from(["1 / Bohr", "2 / Bohr"]),
    unseen_elements=names.map(sorted).map(tuple),
    descriptor_p_value=st.none() | st.integers(1, 200).map(lambda k: k / 200),
    unseen_pairs=st.lists(st.sampled_from("abcde"), unique=True).map(tuple),
    no_ofm=st.sampled_from(["", "not periodic"]),
    low_dimensional=st.sampled_from([None, False, True]),
)
levels = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("facts", "ood"),
    [
        (Novelty(p_value=0.05), True),
        (Novelty(p_value=0.051), False),
        (Novelty(p_value=1.0, unseen_elements=("W",)), True),
        (Novelty(p_value=1.0, unseen_pairs=("W d4 – O p4",)), False),
        (Novelty(p_value=1.0, low_dimensional=True), False),
        (Novelty(no_ofm="not periodic"), True),
        # where there is an OFM, descriptors flag at a fifth of the level
        (Novelty(p_value=0.5, descriptor_p_value=0.011), False),
        (Novelty(p_value=0.5, descriptor_p_value=0.01), True),
        (Novelty(descriptor_p_value=0.051), False),
        (Novelty(descriptor_p_value=0.05), True),
        (Novelty(), None),
        (Novelty(unreadable="no atoms"), None),
    ],
)
def test_verdicts(facts: Novelty, ood: bool | None) -> None:
    assert flag(facts, 0.05).ood is ood


def test_a_reason_says_what_is_known_in_the_order_of_its_weight() -> None:
    pairs = tuple(f"W d4 – O p{k}" for k in range(1, 6))
    facts = Novelty(
        p_value=0.01, far="2 / Bohr", unseen_pairs=pairs, low_dimensional=True
    )
    named = "orbital pairs never seen: W d4 – O p1, W d4 – O p2, W d4 – O p3 and 2 more"
    vacuum = "low-dimensional: the OFM depends on the vacuum"
    assert flag(facts, 0.05).reason == f"{named}; {vacuum}"
    # pairs explain a flag; where there is none, nothing needs to be explained
    assert flag(replace(facts, p_value=0.9), 0.05).reason == vacuum
    new = replace(facts, unseen_elements=("W",))
    assert flag(new, 0.05).reason == f"elements never seen: W; {named}; {vacuum}"
    bare = replace(facts, unseen_pairs=(), low_dimensional=False)
    assert flag(bare, 0.05).reason == "2 / Bohr"
    unlike = replace(bare, descriptor_p_value=0.001)
    words = "descriptor unlike those of the training set"
    assert flag(unlike, 0.05).reason == f"2 / Bohr; {words}"
    assert flag(replace(unlike, p_value=0.9), 0.05).reason == words


@given(novelties, levels, levels)
def test_what_is_flagged_stays_so_at_a_higher_level(
    facts: Novelty, one: float, other: float
) -> None:
    strict, loose = (flag(facts, alpha) for alpha in sorted((one, other)))
    assert (strict.ood is None) == (loose.ood is None)
    assert bool(strict.ood) <= bool(loose.ood)


@given(novelties, levels)
def test_every_flag_has_a_reason(facts: Novelty, alpha: float) -> None:
    ood, reason = flag(facts, alpha)
    assert reason or not ood


def test_merged_is_the_furthest_comparison_with_what_any_set_lacks() -> None:
    near = Novelty(
        p_value=0.8,
        far="1 / Bohr",
        nearest=("a",),
        nearest_rows=(4,),
        distances=(1.0,),
        unseen_elements=("W",),
        unseen_pairs=("x", "y"),
    )
    far = Novelty(
        p_value=0.3,
        far="2 / Bohr",
        nearest=("b",),
        nearest_rows=(7,),
        distances=(2.0,),
        unseen_elements=("K", "W"),
        unseen_pairs=("z", "x"),
    )
    found = merge([near, far])
    assert (found.p_value, found.far) == (0.3, "2 / Bohr")
    assert (found.nearest, found.nearest_rows) == (("b",), (7,))
    assert found.distances == (2.0,)
    assert found.unseen_elements == ("K", "W")
    assert found.unseen_pairs == ("x", "y", "z")


def test_merged_has_no_ofm_where_a_set_asked_for_one() -> None:
    without_set = Novelty(unseen_elements=("W",))
    water = Novelty("unsupported_pbc", no_ofm="not periodic")
    for found in ([without_set, water], [water, without_set]):
        merged = merge(found)
        assert (merged.status, merged.p_value) == ("unsupported_pbc", None)
        assert (merged.no_ofm, merged.unseen_elements) == ("not periodic", ("W",))
    assert merge([without_set, Novelty(p_value=0.7)]).p_value == 0.7


def test_merged_has_all_doubts_and_the_level_of_each_descriptor() -> None:
    alone = Novelty(descriptor_p_value=0.03, doubts=("charge",))
    beside = Novelty(p_value=0.5, descriptor_p_value=0.9, doubts=("charge", "cell"))
    merged = merge([alone, beside])
    assert set(merged.doubts) == {"charge", "cell"}
    plain = [replace(each, doubts=()) for each in (alone, beside)]
    assert flag(merge(plain), 0.05).ood
    assert not flag(merge(plain), 0.02).ood


@given(st.lists(novelties, min_size=1, max_size=5), levels, st.randoms())
def test_order_of_the_sets_does_not_matter(
    found: list[Novelty], alpha: float, random: Random
) -> None:
    shuffled = random.sample(found, len(found))
    one, other = merge(found), merge(shuffled)
    assert flag(one, alpha).ood is flag(other, alpha).ood
    assert (one.p_value, one.no_ofm) == (other.p_value, other.no_ofm)
    assert one.unseen_elements == other.unseen_elements
    assert one.low_dimensional is other.low_dimensional
    assert set(one.unseen_pairs) == set(other.unseen_pairs)
    assert one.far in {each.far for each in found if each.p_value == one.p_value}


@given(st.lists(novelties, min_size=1, max_size=5), levels)
def test_merged_is_flagged_if_one_of_its_parts_is(
    found: list[Novelty], alpha: float
) -> None:
    parts = [flag(facts, alpha).ood for facts in found]
    merged = flag(merge(found), alpha).ood
    assert merged is (None if set(parts) == {None} else any(parts))


@given(novelties)
def test_one_set_needs_no_merging(facts: Novelty) -> None:
    assert merge([facts, facts]) == merge([facts]) == facts


def test_p_values_that_are_not_enough_are_left_out() -> None:
    compared = [
        Novelty(p_value=0.4),
        Novelty(p_value=0.4, unseen_elements=("K",)),
        Novelty(p_value=0.4, doubts=("charged",)),
        Novelty(),
    ]
    p_values = usable_p_values(compared)
    assert p_values[0] == 0.4
    assert np.isnan(p_values).tolist() == [False, True, True, True]
    assert usable_p_values([]).shape == (0,)
