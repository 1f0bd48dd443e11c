"""Settings chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from mftscreen.finetune.kernel import search
from mftscreen.finetune.kernel.regression import Kernel, Ridge, SupportVectors
from mftscreen.finetune.kernel.rows import PooledRows, Setting, Targets
from mftscreen.finetune.kernel.search import Metric, choose_setting, cross_validate

N, WIDTH = 90, 3


def _rows(seed: int = 0) -> PooledRows:
    rng = np.random.default_rng(seed)
    pooled = rng.normal(size=(N, 2 * WIDTH))
    labels = 10.0 ** (pooled[:, :1] + 0.1 * rng.normal(size=(N, 1)))
    structures = [Atoms("H" * (1 + k % 3)) for k in range(N)]
    return PooledRows(pooled, labels, structures, np.arange(N) % 5)


def test_no_row_is_predicted_from_its_own_label() -> None:
    rows = _rows()
    setting = Setting(SupportVectors())
    before = cross_validate(rows, setting)
    labels = rows.labels.copy()
    labels[12] = 77.0
    after = cross_validate(replace(rows, labels=labels), setting)
    assert after[12] == before[12]
    assert (after[rows.folds != rows.folds[12]] != before[rows.folds != 2]).any()


def test_rows_of_no_fold_are_learned_from_and_not_predicted() -> None:
    rows = _rows()
    folds = np.where(np.arange(N) < 60, -1, 0)
    outputs = cross_validate(replace(rows, folds=folds), Setting(Ridge()))
    np.testing.assert_array_equal(np.isnan(outputs[:, 0]), folds == -1)


def test_skewed_labels_get_a_logarithm() -> None:
    setting = choose_setting(_rows(), "mae")
    assert setting.transform == "log10"
    assert isinstance(setting.regression, SupportVectors)


def test_labels_below_zero_get_none() -> None:
    rows = _rows()
    shifted = replace(rows, labels=rows.labels - rows.labels.mean())
    assert choose_setting(shifted, "rmse").transform == "identity"


def test_what_is_chosen_errs_least_of_its_neighbours() -> None:
    rows = _rows()
    chosen = choose_setting(rows, "rmse")
    assert isinstance(chosen.regression, Ridge)

    def error(setting: Setting) -> float:
        values = Targets(setting, rows).undo(cross_validate(rows, setting))
        return float(((values - rows.labels) ** 2).mean())

    place = search.GAMMAS.index(chosen.gamma)
    near = search.GAMMAS[max(place - 1, 0) : place + 2]
    assert error(chosen) == min(error(replace(chosen, gamma=gamma)) for gamma in near)


def test_a_share_of_each_atom_is_recognised() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 30, N)
    structures = [Atoms("H" * (n - n // 2) + "O" * (n // 2)) for n in sizes]
    labels = np.array([[2.0 * (n - n // 2) + 5.0 * (n // 2)] for n in sizes])
    rows = PooledRows(rng.normal(size=(N, 6)), labels, structures, np.arange(N) % 5)
    chosen = choose_setting(rows, "rmse", per_atom=(False, True))
    assert chosen.per_atom
    values = Targets(chosen, rows).undo(cross_validate(rows, chosen))
    assert np.abs(values - labels).max() < 0.5


def _mixed(labels: Callable[[np.ndarray], np.ndarray]) -> PooledRows:
    """Return rows with labels of the numbers of two elements' atoms."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, (N, 2))
    structures = [Atoms("H" * int(h) + "O" * int(o)) for h, o in counts]
    values = labels(counts)[:, None] + 0.01 * rng.normal(size=(N, 1))
    return PooledRows(rng.normal(size=(N, 64)), values, structures, np.arange(N) % 5)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_compositions_are_compared_where_they_explain_labels(metric: Metric) -> None:
    rows = _mixed(lambda counts: np.sin(9.0 * counts[:, 0] / counts.sum(axis=1)))
    chosen = choose_setting(rows, metric)
    assert chosen.composition_weight == max(search.COMPOSITION_WEIGHTS)
    values = Targets(chosen, rows).undo(cross_validate(rows, chosen))
    assert np.abs(values - rows.labels).mean() < 0.3 * rows.labels.std()


def test_compositions_that_are_all_the_same_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[float] = []
    validate = search.cross_validate

    def watched(rows: PooledRows, setting: Setting, kernel: Kernel) -> np.ndarray:
        tried.append(setting.composition_weight)
        return validate(rows, setting, kernel)

    monkeypatch.setattr(search, "cross_validate", watched)
    rows = replace(_rows(), structures=[Atoms("SiO2")] * N)
    choose_setting(rows, "rmse")
    # of the rows that are learned from
    mixed = [Atoms("SiO2")] * 70 + [Atoms("GeO2")] * (N - 70)
    folds = np.where(np.arange(N) < 70, -1, 0)
    choose_setting(replace(rows, structures=mixed, folds=folds), "rmse")
    assert set(tried) == {0.0}


def test_a_small_weight_changes_next_to_nothing() -> None:
    rows = _mixed(lambda counts: counts[:, 0] / counts[:, 1])
    bare = cross_validate(rows, Setting(Ridge()))
    nearly = cross_validate(rows, Setting(Ridge(), composition_weight=1e-6))
    np.testing.assert_allclose(nearly, bare, atol=1e-3)


def test_compositions_are_as_far_apart_as_is_said() -> None:
    rows = replace(_rows(), structures=[Atoms("HOCN"[: 1 + k % 4]) for k in range(N)])

    def distance(x: np.ndarray) -> float:
        return float(np.square(x[:, None] - x).sum(axis=2).mean())

    bare = rows.vectors(Setting(Ridge())).x
    x = rows.vectors(Setting(Ridge(), composition_weight=0.3)).x
    np.testing.assert_array_equal(x[:, : bare.shape[1]], bare)
    assert x.shape[1] == bare.shape[1] + len("HOCN") + 1
    assert distance(x) == pytest.approx(1.3 * distance(bare), rel=1e-2)


def test_an_unknown_element_is_an_average_one() -> None:
    structures = [Atoms("H" * (1 + k % 3) + "O") for k in range(N - 1)]
    labels = np.array([[100.0 * len(atoms)] for atoms in structures] + [[0.0]])
    rows = PooledRows(
        np.random.default_rng(0).normal(size=(N, 6)),
        labels + np.random.default_rng(1).normal(size=(N, 1)),
        [*structures, Atoms("Xe2")],
        np.where(np.arange(N) < N - 1, -1, 0),
    )
    setting = Setting(Ridge(), per_atom=True)
    targets = Targets(setting, rows)
    share = rows.compositions[:, :-1] @ targets.of_elements(np.arange(N - 1))
    assert share[-1] == 0.0
    # of an atom, others have about 100
    assert abs(share[:-1].mean()) < 1.0
    assert cross_validate(rows, setting)[-1] == pytest.approx(100.0, abs=2.0)


def test_a_search_among_many_rows_keeps_held_out_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "N_SEARCHED", 40)
    rows = replace(_rows(), folds=np.where(np.arange(N) < 80, -1, 0))
    part = search._part(rows)
    assert len(part) == 40
    assert (part.folds == 0).sum() == 10
