from __future__ import annotations

import numpy as np
import pytest
from ase.stress import full_3x3_to_voigt_6_stress

from mftscreen.stress import stress_to_virial, virial_to_stress

VIRIAL = np.random.default_rng(0).normal(size=(3, 3))
VOLUME = 40.3


def test_stress_is_that_of_ase_with_the_sign_changed() -> None:
    expected = -full_3x3_to_voigt_6_stress(VIRIAL) / VOLUME
    assert virial_to_stress(VIRIAL, VOLUME) == pytest.approx(expected, rel=1e-14)


def test_symmetric_virial_is_divided_exactly() -> None:
    virial = VIRIAL + VIRIAL.T
    expected = full_3x3_to_voigt_6_stress(-virial / VOLUME)
    assert (virial_to_stress(virial, VOLUME) == expected).all()


def test_there_and_back() -> None:
    symmetric = (VIRIAL + VIRIAL.T) / 2
    stress = virial_to_stress(symmetric, VOLUME)
    assert stress_to_virial(stress, VOLUME) == pytest.approx(symmetric, rel=1e-14)
