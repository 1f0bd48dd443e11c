from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import davies_bouldin_score

from mftscreen.diagnostics.clusters import (
    MERGED,
    LabelledRows,
    Separation,
    compare_clusters,
    davies_bouldin,
    embed,
)
from mftscreen.errors import DataError

RNG = np.random.default_rng(0)
CODES = np.repeat([0, 1, 2], [30, 20, 15])
POINTS = RNG.normal(size=(65, 5)) + 4.0 * CODES[:, None]
LABELLED = LabelledRows(np.arange(65), CODES, ("C3", "C4", "O2"), ("C", "C", "O"))


def _by_definition(points: np.ndarray, codes: np.ndarray, p: int, q: int) -> float:
    """Eqs. 13 and 14 of arXiv:2601.08486, written out."""
    names = sorted(set(codes.tolist()))
    centroids = {i: points[codes == i].mean(axis=0) for i in names}
    dispersions = {}
    for i in names:
        distances = np.sqrt(((points[codes == i] - centroids[i]) ** 2).sum(axis=1))
        dispersions[i] = (distances**q).mean() ** (1 / q)
    worst = [
        max(
            (dispersions[i] + dispersions[j])
            / (np.abs(centroids[i] - centroids[j]) ** p).sum() ** (1 / p)
            for j in names
            if j != i
        )
        for i in names
    ]
    return float(np.mean(worst))


def test_index_is_that_of_the_equations_and_of_scikit_learn() -> None:
    found = davies_bouldin(POINTS, CODES)
    assert found == pytest.approx(_by_definition(POINTS, CODES, p=2, q=1), rel=1e-12)
    assert found == pytest.approx(davies_bouldin_score(POINTS, CODES), rel=1e-12)
    assert found != pytest.approx(_by_definition(POINTS, CODES, p=2, q=2), rel=1e-3)


def test_index_grows_as_clusters_mix() -> None:
    mixed = davies_bouldin(POINTS, RNG.permutation(CODES))
    assert mixed > 5 * davies_bouldin(POINTS, CODES)


@pytest.mark.parametrize("codes", [np.zeros(65), np.arange(65)])
def test_index_of_one_cluster_or_of_single_points_is_none(codes: np.ndarray) -> None:
    assert davies_bouldin(POINTS, codes.astype(np.int64)) is None


@pytest.mark.parametrize("kinds", [2, 3])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_kinds_with_one_mean_are_not_apart(kinds: int, spread: float) -> None:
    points = spread * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    far = [[50.0, 1.0], [50.0, -1.0]] * (kinds - 2)
    codes = np.array([0, 0, 1, 1, *[2] * len(far)])
    merged = np.vstack([points + 3.0, *np.reshape(far, (-1, 1, 2))])
    found = davies_bouldin(merged, codes)
    apart = davies_bouldin(merged + 5.0 * np.outer(codes == 1, [1, 0]), codes)
    assert found is not None
    assert apart is not None
    assert apart < 2
    assert 0.5 * MERGED < found <= MERGED


def test_ratio_is_the_mean_over_samples() -> None:
    assert Separation((2.0,), (3.0,)).ratio == 1.5
    assert Separation((2.0,), (3.0,)).sd is None
    several = Separation((2.0, 4.0), (3.0, 4.0))
    assert several.ratio == 1.25
    assert several.sd == pytest.approx(np.std([1.5, 1.0], ddof=1))
    assert Separation((), ()).ratio is None
    assert Separation((0.0,), (3.0,)).ratio is None


def test_plane_keeps_neighbours_together() -> None:
    plane = embed(POINTS, seed=0)
    assert plane.shape == (65, 2)
    assert np.isfinite(plane).all()
    assert davies_bouldin(plane, CODES) < 0.5


def test_plane_depends_on_the_seed_alone() -> None:
    # few rows: random numbers enter by way of the principal components alone
    np.testing.assert_array_equal(embed(POINTS, seed=3), embed(POINTS, seed=3))


def test_planes_of_equal_samples_differ_by_their_seeds() -> None:
    found = compare_clusters(
        [LABELLED] * 3, lambda model, rows: POINTS[rows], ["same"], 0
    )
    assert len(set(found.pretrained.on_plane)) == 3
    assert len(set(found.pretrained.in_descriptor)) == 1
    # the same seeds for all models
    assert found.on_plane("same").ratio == 1.0
    assert found.on_plane("same").sd == 0.0


def test_plane_of_few_rows() -> None:
    assert np.isfinite(embed(POINTS[:4], seed=0)).all()
    with pytest.raises(DataError, match="at least 4 rows, got 3"):
        embed(POINTS[:3], seed=0)


def test_equal_rows_have_no_plane() -> None:
    equal = np.tile(POINTS[:1], (20, 1))
    equal[3] += 1e-14
    with pytest.raises(DataError, match="rows are equal"):
        embed(equal, seed=0)


def test_a_collapse_to_one_point_names_the_model() -> None:
    features = {None: POINTS, "ft": POINTS, "mft": np.ones_like(POINTS)}
    with pytest.raises(DataError, match=r"^mft model: .* rows are equal"):
        compare_clusters(
            [LABELLED], lambda model, rows: features[model][rows], ["ft", "mft"], 0
        )


def test_comparison_has_all_models_and_both_spaces() -> None:
    collapsed = POINTS - 3.9 * CODES[:, None]
    features = {None: POINTS, "ft": collapsed, "mft": POINTS}
    found = compare_clusters(
        [LABELLED], lambda model, rows: features[model][rows], ["ft", "mft"], 0
    )
    ft = found.in_descriptor("ft")
    assert ft == Separation(
        (davies_bouldin(POINTS, CODES),), (davies_bouldin(collapsed, CODES),)
    )
    assert ft.ratio > 3
    assert found.on_plane("ft").ratio > 3
    assert found.in_descriptor("mft").ratio == found.on_plane("mft").ratio == 1.0
    assert found.labelled.counts == {"C3": 30, "C4": 20, "O2": 15}


def test_each_sample_has_an_index_of_its_own_rows() -> None:
    asked = []

    def features(model: str | None, rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return POINTS[rows] + (model is not None) * RNG.normal(size=(len(rows), 5))

    halves = [np.arange(k, 65, 2) for k in (0, 1)]
    samples = [
        LabelledRows(h, CODES[h], LABELLED.names, LABELLED.families) for h in halves
    ]
    found = compare_clusters(samples, features, ["ft"], 0)
    # every row is evaluated once by each model
    assert asked == [list(range(65))] * 2
    assert found.pretrained.in_descriptor == tuple(
        davies_bouldin(POINTS[h], CODES[h]) for h in halves
    )
    assert found.pretrained.plane.shape == (33, 2)
    assert found.on_plane("ft").sd > 0
