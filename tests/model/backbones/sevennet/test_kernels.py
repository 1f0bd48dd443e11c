from __future__ import annotations

import numpy as np
import pytest

from mftscreen.model.backbones.sevennet.kernels import LOOPS

SHAPES = [(2, 1, 3), (2, 2, 1), (4, 2, 3), (4, 1, 3)]
ONE_EDGE = np.array([0, 1]), np.array([1, 2]), np.array([0, 1])


def test_loops_are_free_of_the_interpreter_lock() -> None:
    assert all(loop.targetoptions["nogil"] for loop in LOOPS)


@pytest.mark.parametrize("place", range(4))
def test_a_loop_adds_to_one_factor_and_leaves_the_others(place: int) -> None:
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=shape) for shape in SHAPES]
    before = [factor.copy() for factor in factors]
    empty = [factor.copy() for factor in factors]
    empty[place][:] = 0.0
    LOOPS[place](*ONE_EDGE, *factors)
    LOOPS[place](*ONE_EDGE, *empty)
    assert empty[place].any()
    for k in range(4):
        added = empty[place] if k == place else 0.0
        np.testing.assert_allclose(factors[k], before[k] + added, atol=1e-12)
