from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy.sparse import csr_array

from mftscreen.ood import OFMFeaturizer
from mftscreen.screen.order.diversity import diversify


def choose(features: np.ndarray, n_pick: int) -> list[int]:
    """Return the farthest-point choice by its definition, from exact distances."""
    chosen = [0]
    while len(chosen) < n_pick:
        rest = [k for k in range(len(features)) if k not in chosen]
        gaps = [
            min(np.sum((features[k] - features[c]) ** 2) for c in chosen) for k in rest
        ]
        chosen.append(rest[int(np.argmax(gaps))])
    return chosen


def test_points_on_a_line() -> None:
    order = np.array([10, 11, 12, 13, 14, 99])
    features = np.array([[1.0], [2.0], [3.0], [9.0], [5.0]])
    # 9 is furthest from 1, then 5 (4 away from both); of 2 and 3 the one 2 away from 1
    assert diversify(order, features, 4).tolist() == [10, 13, 14, 12, 11, 99]


def test_equally_distant_candidates_keep_their_order() -> None:
    features = np.array([[0.5, 0.0], [1.5, 0.0], [-0.5, 0.0], [0.5, 1.0]])
    assert diversify(np.arange(4), features, 2).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_choice_is_that_of_the_definition(kind: type) -> None:
    rng = np.random.default_rng(0)
    features = rng.random((60, 30)) * (rng.random((60, 30)) < 0.3)
    found = diversify(np.arange(100), kind(features), 20)
    expected = choose(features, 20)
    assert found[:20].tolist() == expected
    assert found[20:].tolist() == [k for k in range(100) if k not in expected]


def test_duplicates_come_last_and_in_order() -> None:
    rng = np.random.default_rng(1)
    distinct = rng.random((4, 1025)) * 100.0
    features = np.repeat(distinct, 5, axis=0)
    found = diversify(np.arange(20), features, 20)
    assert sorted(found[:4] // 5) == [0, 1, 2, 3]
    assert (found[:4] % 5 == 0).all()
    assert found[4:].tolist() == [k for k in range(20) if k % 5]


def test_candidates_without_features_are_not_chosen() -> None:
    features = np.array([[np.nan, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 9.0], [1.0, 2.0]])
    found = diversify(np.array([4, 3, 2, 1, 0]), features, 5)
    assert found.tolist() == [3, 1, 0, 4, 2]


@pytest.mark.parametrize("n_pick", [0, 1])
def test_nothing_changes_with_hardly_any_choice(n_pick: int) -> None:
    order = np.array([2, 0, 1])
    assert diversify(order, np.eye(3), n_pick).tolist() == [2, 0, 1]


def test_no_candidates() -> None:
    empty = np.array([], dtype=np.int64)
    assert diversify(empty, np.zeros((0, 5)), 3).tolist() == []


def test_the_given_arrays_are_not_changed() -> None:
    order, features = np.array([2, 0, 1]), csr_array(np.eye(3))
    diversify(order, features, 3)
    assert order.tolist() == [2, 0, 1]
    assert (features.toarray() == np.eye(3)).all()


def test_more_features_than_candidates() -> None:
    with pytest.raises(ValueError, match=r"features of 4 candidates.* only 3"):
        diversify(np.arange(3), np.eye(4), 2)


def test_negative_number() -> None:
    with pytest.raises(ValueError, match="n_pick = -1"):
        diversify(np.arange(3), np.eye(3), -1)


def test_crystals_alike_are_not_chosen_together() -> None:
    crystals = [
        bulk("MgO", "rocksalt", a=4.20),
        bulk("MgO", "rocksalt", a=4.21),
        bulk("GaAs", "zincblende", a=5.65),
        bulk("GaAs", "zincblende", a=5.66),
        bulk("Cu", "fcc", a=3.61),
    ]
    features = np.array([row.features for row in OFMFeaturizer()(crystals)])
    chosen = diversify(np.arange(5), features, 3)[:3]
    assert chosen[0] == 0
    assert {int(k) for k in chosen} in ({0, 2, 4}, {0, 3, 4})
