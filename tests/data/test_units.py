"""Changes of units, found in ratios and in distributions of labels."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from hypothesis import given
from hypothesis import strategies as st

from mftscreen.data.units import match_factor, mixed_units, same_distribution_factor

LABELS = np.random.default_rng(0).gamma(3.0, size=60).tolist()


@pytest.mark.parametrize(
    ("ratio", "unit", "change"),
    [
        (1000.0, "eV", "eV to meV"),
        (0.001, "meV", "meV to eV"),
        (1 / units.GPa, "eV/Å^3", "eV/Å^3 to GPa"),
        (0.1, "kbar", "kbar to GPa"),
        (1 / units.Bohr, "Å", "Å to bohr"),
        (1 / units.Debye, "e Å", "e Å to D"),
        (units.Hartree, None, "Ha to eV"),
        # of another unit, that cannot be
        (1000.0, "kbar", None),
        (1.002 * 1000.0, "eV", None),
        (0.0, None, None),
        (-1000.0, "eV", None),
        (float("nan"), "eV", None),
    ],
)
def test_ratios(ratio: float, unit: str | None, change: str | None) -> None:
    assert match_factor(ratio, unit) == change


@given(st.sampled_from([1000.0, units.Hartree, units.Bohr, 96.4853]))
def test_the_inverse_ratio_is_the_change_back(factor: float) -> None:
    there, back = match_factor(factor), match_factor(1 / factor)
    assert there is not None
    assert back is not None
    assert there.split(" to ") == back.split(" to ")[::-1]


def test_distributions_that_differ_by_a_factor() -> None:
    one, other = LABELS[:30], LABELS[30:]
    assert same_distribution_factor(one, one, "eV") is None
    milli = [1000 * label for label in other]
    assert same_distribution_factor(one, milli, "eV") == "eV to meV"
    # zeros tell no unit, and without them there are too few
    assert same_distribution_factor([0.0] * 30 + one[:19], milli, "eV") is None
    assert same_distribution_factor([0.0] * 30 + one, milli, "eV") == "eV to meV"
    # in the middle, but not in width
    narrow = [1000 * np.median(one) + label for label in other]
    assert same_distribution_factor(one, narrow, "eV") is None
    assert same_distribution_factor(one, [3.7] * 30, "eV") is None


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n_larger", [19, 20])
def test_labels_in_two_units(n_larger: int, sign: int) -> None:
    larger = [1000 * label for label in LABELS[:n_larger]]
    labels = [sign * label for label in [0.0, *LABELS[:20], *larger]]
    found = mixed_units(labels, "eV")
    assert found == (None if n_larger < 20 else (min(larger), "eV to meV"))


def test_labels_in_one_unit() -> None:
    assert mixed_units(LABELS, "eV") is None
    assert mixed_units(LABELS[:30], "eV") is None
    # a gap, across which nothing is a thousand times as large
    assert mixed_units([*LABELS, *(50 + label for label in LABELS)], "eV") is None
