from __future__ import annotations

import numpy as np
import pytest

from mftscreen.model.backbones.sevennet.kernels import loops

ONE_EDGE = np.array([0, 1]), np.array([1, 2]), np.array([0, 1])


def test_loops_are_free_of_the_interpreter_lock() -> None:
    assert all(loop.targetoptions["nogil"] for loop in loops(3))


@pytest.mark.parametrize("n_components", [1, 3, 5])
@pytest.mark.parametrize("place", range(4))
def test_a_loop_adds_to_one_factor_and_leaves_the_others(
    place: int, n_components: int
) -> None:
    rng = np.random.default_rng(0)
    shapes = [(2, 1, 3), (2, n_components, 1), (4, n_components, 3), (4, 1, 3)]
    factors = [rng.normal(size=shape) for shape in shapes]
    before = [factor.copy() for factor in factors]
    empty = [factor.copy() for factor in factors]
    empty[place][:] = 0.0
    loop = loops(n_components)[place]
    loop(*ONE_EDGE, *factors)
    loop(*ONE_EDGE, *empty)
    assert empty[place].any()
    for k in range(4):
        added = empty[place] if k == place else 0.0
        np.testing.assert_allclose(factors[k], before[k] + added, atol=1e-12)
