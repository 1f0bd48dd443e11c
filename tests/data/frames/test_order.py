from __future__ import annotations

import numpy as np
import pytest

from mftscreen.data.frames import permuted


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 1000])
def test_each_number_comes_once(n: int) -> None:
    for key in (0, 1, 2**60):
        assert sorted(permuted(k, n, key) for k in range(n)) == list(range(n))


def test_orders_look_random() -> None:
    n = 2000
    orders = np.array([[permuted(k, n, key) for k in range(n)] for key in (5, 6)])
    places = np.arange(n)
    # neither like what they are of, nor like each other, nor with a fixed step
    for one, other in ((orders[0], places), (orders[0], orders[1])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    assert len(np.unique(np.diff(orders[0]))) > n / 2
