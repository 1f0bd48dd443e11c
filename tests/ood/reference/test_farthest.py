from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from mftscreen.ood.reference.farthest import farthest_points


def test_each_choice_is_the_farthest_from_all_before() -> None:
    rng = np.random.default_rng(5)
    points = rng.random((200, 40)) * (rng.random((200, 40)) < 0.2)
    chosen = farthest_points(csr_array(points), 50)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert chosen[0] == 0
    for k in range(1, 50):
        gaps = distances[:, chosen[:k]].min(axis=1)
        assert gaps[chosen[k]] == pytest.approx(gaps.max())


@pytest.mark.parametrize(("n_pick", "expected"), [(0, []), (1, [0]), (9, [0, 2, 1])])
def test_fewer_and_more_than_there_are(n_pick: int, expected: list[int]) -> None:
    points = csr_array([[0.0], [1.0], [3.0]])
    assert farthest_points(points, n_pick).tolist() == expected


def test_equal_points_are_all_taken_once() -> None:
    points = csr_array(np.ones((5, 3)))
    assert sorted(farthest_points(points, 5).tolist()) == [0, 1, 2, 3, 4]


def test_no_points() -> None:
    assert farthest_points(csr_array((0, 3)), 4).shape == (0,)
