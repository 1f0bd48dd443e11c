"""What is around structures in the space of a descriptor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mftscreen.errors import ModelFileError
from mftscreen.trust import neighborhood
from mftscreen.trust.neighborhood import (
    Neighborhood,
    Space,
    Surroundings,
    component_scales,
    draw_rows,
    measure_held_out,
    merge_surroundings,
    open_neighborhoods,
    pack_neighborhoods,
)

WIDTH = 4
RNG = np.random.default_rng(0)
POOLED = RNG.normal(size=(300, 2 * WIDTH)) * np.geomspace(0.01, 10.0, 2 * WIDTH)
LABELS = RNG.normal(size=300)


@pytest.fixture
def around() -> Neighborhood:
    return Neighborhood.of(Space.of(POOLED), POOLED, {"gap": LABELS, "n": LABELS**2})


def test_distances_are_those_of_standardised_descriptors(around: Neighborhood) -> None:
    query = 1.5 * POOLED[:7]
    scale = POOLED.std(axis=0) * np.sqrt(2 * WIDTH)
    distances = cdist(query / scale, POOLED / scale)
    order = np.argsort(distances, axis=1)
    found = around.measure(query)
    nearest = np.sort(distances, axis=1)[:, :5].mean(axis=1)
    # half precision
    assert found["gap"].distance == pytest.approx(nearest, rel=2e-3)
    for name, labels in (("gap", LABELS), ("n", LABELS**2)):
        assert found[name].spread == pytest.approx(labels[order[:, :10]].std(axis=1))
        assert np.array_equal(found[name].distance, found["gap"].distance)


def test_a_result_does_not_depend_on_what_else_is_asked_for(
    around: Neighborhood, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = around.measure(POOLED)["gap"]
    monkeypatch.setattr(neighborhood, "BLOCK", 7)
    assert np.allclose(around.measure(POOLED)["gap"], whole, rtol=1e-12)
    alone = [around.measure(row[None])["gap"] for row in POOLED[:5]]
    assert np.allclose(np.hstack(alone), np.array(whole)[:, :5], rtol=1e-12)


def test_directions_that_tell_nothing_are_left_out() -> None:
    wide = np.hstack([POOLED, np.full((300, 200), 3.0)])
    space = Space.of(wide)
    assert space.axes.shape == (len(wide[0]), 64)
    narrow = Neighborhood.of(space, wide, {"gap": LABELS})
    assert np.isfinite(narrow.measure(wide)["gap"]).all()


def test_rows_that_are_one_structure_are_near_each_other() -> None:
    noise = 1e-8 * np.random.default_rng(0).normal(size=(20, 2 * WIDTH))
    same = 1.0 + noise
    around = Neighborhood.of(Space.of(same), same, {"gap": LABELS[:20]})
    assert around.measure(same)["gap"].distance.max() < 0.1
    # what is told apart by more than rounding remains told apart
    small = 1.0 + 1e-3 * POOLED
    scales = component_scales(small)
    np.testing.assert_array_equal(scales, small.std(axis=0))


@pytest.mark.parametrize("spread", [0.0, 1e-18, 1e-15])
def test_numbers_of_rows_without_any_spread_keep_within_a_file(spread: float) -> None:
    for size in (0.0, 1.0):
        rows = size + spread * POOLED
        near = Neighborhood.of(Space.of(rows), rows, {"gap": LABELS})
        (again,) = open_neighborhoods(pack_neighborhoods([near]), WIDTH)
        assert np.isfinite(again.measure(rows)["gap"]).all()


def test_rows_of_their_own_fold_are_left_out() -> None:
    folds = np.arange(300) % 3
    space = Space.of(POOLED)
    found = measure_held_out(space, POOLED, LABELS, folds)
    others = Neighborhood.of(space, POOLED[folds != 1], {"gap": LABELS[folds != 1]})
    expected = others.measure(POOLED[folds == 1])["gap"]
    # in another order, which decides about nothing but ties
    assert found.distance[folds == 1] == pytest.approx(expected.distance)
    assert found.spread[folds == 1] == pytest.approx(expected.spread)


def test_of_many_rows_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighborhood, "N_POINTS", 50)
    drawn = draw_rows(300)
    assert len(set(drawn.tolist())) == 50
    assert sorted(draw_rows(20)) == list(range(20))


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_rows_are_enough(n: int) -> None:
    few = Neighborhood.of(Space.of(POOLED[:n]), POOLED[:n], {"gap": LABELS[:n]})
    found = few.measure(POOLED[:3])["gap"]
    assert np.isfinite(found).all()
    assert few.measure(POOLED[:0])["gap"].distance.shape == (0,)


def test_arrays_come_back_as_they_were(around: Neighborhood) -> None:
    labels = {"mass": LABELS[:50], "carriers": 1e20 * LABELS[:50]}  # per cm³
    other = Neighborhood.of(Space.of(POOLED), POOLED[:50], labels)
    arrays = pack_neighborhoods([around, other])
    again = open_neighborhoods(arrays, WIDTH)
    for one, two in zip((around, other), again, strict=True):
        for name, expected in one.measure(POOLED).items():
            found = two.measure(POOLED)[name]
            assert np.array_equal(found.distance, expected.distance)
            assert found.spread == pytest.approx(expected.spread, rel=1e-5)
    assert open_neighborhoods({}, WIDTH) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("0/points", None),
        ("0/points", np.zeros((0, 8), np.float16)),
        ("0/points", np.full((300, 8), np.inf, np.float16)),
        ("0/points", np.zeros(300, np.float16)),
        ("0/points", np.zeros((4001, 8), np.float16)),
        ("0/axes", np.full((8, 8), 1e13)),
        ("0/axes", np.zeros((8, 7), np.float32)),
        ("0/center", np.zeros(9, np.float32)),
        ("0/labels/gap", np.zeros(299, np.float32)),
        ("0/labels/gap", np.array(["a"] * 300)),
        ("0/labels/gap", np.full(300, 1e31)),
        ("0/more", np.zeros(3)),
        ("more", np.zeros(3)),
    ],
)
def test_damaged_arrays_are_refused(
    around: Neighborhood, key: str, value: np.ndarray | None
) -> None:
    arrays = pack_neighborhoods([around])
    arrays.pop(key, None)
    if value is not None:
        arrays[key] = value
    with pytest.raises(ModelFileError, match="training rows' descriptors are damaged"):
        open_neighborhoods(arrays, WIDTH)


def test_an_ensemble_has_the_geometric_means() -> None:
    one = Surroundings(np.array([0.1, 0.0]), np.array([1.0, 2.0]))
    two = Surroundings(np.array([0.4, 0.3]), np.array([1.0, 8.0]))
    both = merge_surroundings([one, two])
    assert both.distance == pytest.approx([0.2, 0.0])
    assert both.spread == pytest.approx([1.0, 4.0])
    assert merge_surroundings([one]) is one
