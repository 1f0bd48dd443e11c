from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.parity import plot_parity, plot_reliability


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    with plt.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


def test_rows_intervals_and_flags_are_drawn() -> None:
    known, predicted = [1.0, 2.0, 3.0, np.nan], [1.5, 2.0, 5.0, 1.0]
    ends = [[1.0, 2.0], [np.nan, np.nan], [4.0, 6.0], [0.0, 2.0]]
    ax = plot_parity(
        known, predicted, intervals=ends, flagged=[0, 0, 1, 0], title="gap (eV)"
    )
    assert ax.get_xlabel() == "known gap (eV)"
    assert ax.get_title() == "3 rows, MAE 0.833"
    trusted, flagged = ax.containers
    assert trusted[0].get_xydata().tolist() == [[1.0, 1.5], [2.0, 2.0]]
    assert flagged[0].get_xydata().tolist() == [[3.0, 5.0]]
    (bars,) = flagged[2]
    assert bars.get_segments()[0].tolist() == [[3.0, 4.0], [3.0, 6.0]]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["in distribution", "flagged"]


def test_it_draws_where_it_is_told_to() -> None:
    _, ax = plt.subplots()
    assert plot_parity([1.0], [2.0], ax=ax) is ax
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    ("known", "predicted", "message"),
    [([1.0], [1.0, 2.0], "one of each is needed"), ([np.nan], [1.0], "no row has")],
)
def test_nothing_to_draw_is_said(known: list, predicted: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plot_parity(known, predicted)


def test_shares_of_what_has_a_probability_are_drawn() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=5_000)
    ax = plot_reliability(rng.uniform(size=5_000) < p, p, title="metal")
    points = ax.containers[0][0].get_xydata()
    assert points.shape == (10, 2)
    np.testing.assert_allclose(points[:, 1], points[:, 0], atol=0.06)
    assert ax.get_xlabel() == "probability of metal"
    with pytest.raises(DataError):
        plot_reliability([0.5], [0.5])
