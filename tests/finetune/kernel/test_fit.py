"""From rows to a read-out and its landmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from mftscreen.finetune.kernel import fit, search
from mftscreen.finetune.kernel.fit import Fitted, fit_readout
from mftscreen.finetune.kernel.regression import Classifier, Ridge
from mftscreen.finetune.kernel.rows import (
    PooledRows,
    Setting,
    kernel_between,
    linear_term,
)

WIDTH = 2


def _rows(n: int, noise: float = 0.02) -> PooledRows:
    """Return rows whose labels are noisier, the larger the second component is."""
    rng = np.random.default_rng(0)
    pooled = rng.uniform(0.5, 2.0, size=(n, 2 * WIDTH))
    level = noise * 10.0 ** (pooled[:, 1] - 1.0)
    labels = np.sin(2.0 * pooled[:, 0]) + level * rng.normal(size=n)
    return PooledRows(pooled, labels[:, None], [Atoms("H")] * n, np.arange(n) % 5)


@pytest.fixture(scope="module")
def rows() -> PooledRows:
    return _rows(300)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_it_predicts_new_rows_as_well_as_cross_validation_says(
    rows: PooledRows, metric: str
) -> None:
    readout, held_out, folds = fit_readout(rows, metric)
    assert np.array_equal(folds, rows.folds)
    assert readout.card.metrics["mae"] == pytest.approx(
        np.abs(held_out - rows.labels).mean()
    )
    new = _rows(900).take(np.arange(300, 900))
    values = readout.predict(new.pooled, new.structures)
    error = np.abs(values - new.labels).mean()
    assert error == pytest.approx(readout.card.metrics["mae"], rel=0.25)
    assert error < 0.2 * new.labels.std()


def test_few_landmarks_give_nearly_the_same(
    rows: PooledRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_readout(rows, "mae").readout
    monkeypatch.setattr(fit, "N_LANDMARKS", 60)
    small = fit_readout(rows, "mae").readout
    assert small.card.n_landmarks == len(small.landmarks) == 60
    assert whole.card.n_landmarks > 60
    new = _rows(500)
    one, two = (r.predict(new.pooled, new.structures) for r in (whole, small))
    assert np.abs(one - two).mean() < 0.1 * np.abs(one - new.labels).mean()


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_elements_that_no_row_has_are_held_against_a_structure(metric: str) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, (200, 2))
    structures = [Atoms("H" * int(h) + "O" * int(o)) for h, o in counts]
    structures[-20:] = [Atoms("HXe"), Atoms("KOKr2")] * 10
    shares = counts[:, :1] / counts.sum(axis=1, keepdims=True)
    pooled, folds = rng.normal(size=(200, 8)), np.repeat([-1, 0], [160, 40])
    rows = PooledRows(pooled, np.sin(9.0 * shares), structures, folds)
    known = rows.take(np.arange(180))
    readout = fit_readout(known, metric).readout
    assert readout.card.composition == ["H", "O"]
    # cross-validation knows those of all rows, and gives each a component
    setting = search.choose_setting(known, metric)
    outputs = search.Targets(setting, rows).undo(search.cross_validate(rows, setting))
    values = readout.predict(pooled[160:], structures[160:])
    np.testing.assert_allclose(values, outputs[160:], atol=2e-3)


@pytest.mark.parametrize("composed", [False, True])
def test_it_is_the_same_after_a_model_file(rows: PooledRows, composed: bool) -> None:
    if composed:
        shares = np.arange(len(rows)) % 4
        structures = [Atoms("H" * (4 - n) + "O" * n) for n in shares]
        rows = replace(rows, labels=shares[:, None] ** 2.0, structures=structures)
    readout = fit_readout(rows, "mae").readout
    assert readout.card.composition == (["H", "O"] if composed else [])
    again = type(readout).from_arrays(
        readout.card, readout.to_arrays("gap"), "gap", WIDTH
    )
    np.testing.assert_array_equal(
        again.predict(rows.pooled, rows.structures),
        readout.predict(rows.pooled, rows.structures),
    )


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_labels_as_large_as_may_be_are_learned(rows: PooledRows, metric: str) -> None:
    large = replace(rows, labels=1e14 * (5.0 + rows.labels))
    readout = fit_readout(large, metric).readout
    arrays = readout.to_arrays("modulus")
    again = type(readout).from_arrays(readout.card, arrays, "modulus", WIDTH)
    error = np.abs(again.predict(rows.pooled, rows.structures) - large.labels).mean()
    assert error < 0.1 * large.labels.std()


@pytest.mark.parametrize("n", [2, 3, 7])
def test_a_handful_of_rows_is_enough_for_numbers(n: int) -> None:
    readout, held_out, _ = fit_readout(_rows(n), "mae")
    values = readout.predict(_rows(9).pooled, [Atoms("H")] * 9)
    assert np.isfinite(values).all()
    assert np.isfinite(held_out).all()


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_repeated_training_rows_choose_no_settings(metric: str) -> None:
    rows = replace(_rows(120, noise=1.0), folds=np.repeat([-1, 0], [80, 40]))
    again = np.r_[np.arange(120), np.arange(60)]
    more = replace(rows.take(again), folds=np.repeat([-1, 0], [80, 100]))
    new = np.repeat([False, True, False], [80, 40, 60])
    alone, mixed = fit_readout(rows, metric), fit_readout(more, metric)
    told = fit_readout(more, metric, new=new)
    # what remembers them looks better than it is
    assert mixed.readout.card.metrics["mae"] < alone.readout.card.metrics["mae"]
    assert mixed.readout.card.settings != alone.readout.card.settings
    same = alone.readout.card.model_copy(update={"seconds": told.readout.card.seconds})
    assert told.readout.card == same
    assert np.isfinite(told.held_out[80:]).all()


@pytest.mark.parametrize("spread", [0.0, 1e-15])
def test_rows_without_any_spread_make_a_file_that_opens(spread: float) -> None:
    rows = _rows(10)
    same = replace(rows, pooled=1.0 + spread * (rows.pooled - 1.25))
    readout = fit_readout(same, "mae").readout
    arrays = readout.to_arrays("gap")
    again = type(readout).from_arrays(readout.card, arrays, "gap", WIDTH)
    values = again.predict(same.pooled, same.structures)
    # rounding is nothing to learn from
    assert np.ptp(values) < 1e-3 * np.ptp(rows.labels)


def test_labels_that_are_all_the_same_are_predicted_so() -> None:
    rows = _rows(30)
    same = PooledRows(rows.pooled, np.full((30, 1), 2.5), rows.structures, rows.folds)
    readout = fit_readout(same, "mae").readout
    values = readout.predict(rows.pooled, rows.structures)
    np.testing.assert_allclose(values, 2.5, atol=1e-6)


def test_one_label_that_has_no_logarithm_is_enough_to_take_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "N_SEARCHED", 50)
    rows = _rows(120)
    labels = 10.0 ** (3.0 * rows.pooled[:, :1])
    labels[3] = 0.0
    skewed = PooledRows(rows.pooled, labels, rows.structures, rows.folds)
    assert fit_readout(skewed, "mae").readout.card.transform.kind == "identity"


def test_labels_most_of_which_are_nearly_zero_are_learned() -> None:
    rows = _rows(200)
    labels = np.where(rows.pooled[:, :1] < 1.4, 1e-7 * rows.labels, 2.0 + rows.labels)
    mostly = PooledRows(rows.pooled, labels, rows.structures, rows.folds)
    assert (np.abs(labels) < 1e-6).mean() > 0.5
    readout = fit_readout(mostly, "mae").readout
    baseline = np.abs(labels - np.median(labels)).mean()
    assert readout.card.metrics["mae"] < 0.5 * baseline


def test_predictions_are_made_in_other_folds_than_settings_are_chosen_in(
    rows: PooledRows,
) -> None:
    other = np.random.default_rng(1).permutation(rows.folds)
    one = fit_readout(rows, "mae")
    two = fit_readout(rows, "mae", other_folds=other)
    assert two.readout.card.settings == one.readout.card.settings
    assert not np.array_equal(one.held_out, two.held_out)
    np.testing.assert_array_equal(two.readout.weights, one.readout.weights)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_several_numbers_have_one_kernel_and_weights_of_their_own(
    rows: PooledRows, metric: str
) -> None:
    both = np.hstack([rows.labels, 100.0 * np.cos(rows.pooled[:, 1:2])])
    pairs = PooledRows(rows.pooled, both, rows.structures, rows.folds)
    readout, held_out, _ = fit_readout(pairs, metric)
    assert held_out.shape == (300, 2)
    assert readout.card.n_components == 2
    error = np.abs(held_out - both).mean(axis=0)
    assert (error < 0.2 * both.std(axis=0)).all()
    assert readout.card.metrics["mae"] == pytest.approx(error.mean())
    again = type(readout).from_arrays(
        readout.card, readout.to_arrays("pair"), "pair", WIDTH
    )
    new = _rows(900).take(np.arange(300, 900))
    values = again.predict(new.pooled, new.structures)
    truth = np.hstack([new.labels, 100.0 * np.cos(new.pooled[:, 1:2])])
    assert (np.abs(values - truth).mean(axis=0) < 1.3 * error).all()


def test_shares_of_atoms_of_several_numbers() -> None:
    rng = np.random.default_rng(0)
    structures = [Atoms("H" * rng.integers(1, 9) + "O" * (k % 4)) for k in range(60)]
    counts = np.array([[len(a), a.numbers.sum()] for a in structures], dtype=float)
    rows = PooledRows(rng.normal(size=(60, 4)), counts, structures, np.arange(60) % 5)
    readout, held_out, _ = fit_readout(rows, "rmse", per_atom=(True,))
    assert np.shape(readout.card.elements["O"]) == (2,)
    assert np.abs(held_out - counts).max() < 0.5
    values = readout.predict(rows.pooled, structures)
    np.testing.assert_allclose(values, counts, atol=0.5)


def test_probabilities_are_calibrated_on_rows_that_were_not_fitted() -> None:
    rng = np.random.default_rng(1)
    pooled = rng.uniform(0.5, 2.0, size=(160, 2 * WIDTH))
    likely = 1.0 / (1.0 + np.exp(-2.0 * (pooled[:, 0] - 1.25)))
    labels = (rng.uniform(size=160) < likely).astype(float)[:, None]
    folds = np.repeat([-1, 0], [100, 60])
    rows = PooledRows(pooled, labels, [Atoms("H")] * 160, folds)
    again = np.r_[np.arange(160), np.arange(40)]  # training rows among those held out
    more = replace(rows.take(again), folds=np.r_[folds, np.zeros(40, dtype=int)])
    new = np.r_[np.ones(160, dtype=bool), np.zeros(40, dtype=bool)]
    setting = Setting(Classifier(30.0), gamma=2.0)
    alone, mixed, told = (
        _fitted_by(setting, *given)
        for given in ((rows, None), (more, None), (more, new))
    )
    # of rows that it was fitted to, it is too sure
    assert mixed.readout.card.transform.std > 1.2 * alone.readout.card.transform.std
    assert told.readout.card.transform == alone.readout.card.transform
    np.testing.assert_array_equal(told.held_out[100:160], alone.held_out[100:])
    assert np.isfinite(told.held_out[160:]).all()


def _fitted_by(setting: Setting, rows: PooledRows, new: np.ndarray | None) -> Fitted:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "choose_setting", lambda *_, **__: setting)
        return fit_readout(rows, "log_loss", new=new)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
@pytest.mark.parametrize("by_size", [True, False])
def test_a_linear_term_goes_on_where_there_are_no_rows(
    metric: str, by_size: bool
) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 12, 300)
    pooled = rng.normal(size=(300, 2 * WIDTH))
    labels = pooled @ [1.0, -2.0, 0.5, 0.0] + np.sin(3.0 * pooled[:, 3])
    labels = labels + (3.0 * sizes if by_size else 0.0)
    far = labels > np.quantile(labels, 0.8)
    folds = np.where(far, -2, np.arange(300) % 5)
    structures = [Atoms("H" * int(n)) for n in sizes]
    every = PooledRows(pooled, labels[:, None], structures, folds, by_size)
    known, beyond = (every.take(np.flatnonzero(part)) for part in (~far, far))
    errors = []
    for linear in (True, False):
        readout, held_out, _ = fit_readout(known, metric, linear=linear)
        assert readout.card.linear is linear
        # as it was fitted: training rows are near their labels
        values = readout.predict(known.pooled, known.structures)
        near = np.abs(values - known.labels).mean()
        assert near < np.abs(held_out - known.labels).mean()
        values = readout.predict(beyond.pooled, beyond.structures)
        errors.append(np.abs(values - beyond.labels).mean())
    assert errors[0] < 0.8 * errors[1]


def test_a_linear_term_is_that_of_the_kernel() -> None:
    every = _rows(60)
    structures = [Atoms("H" * (1 + k % 7)) for k in range(60)]
    every = PooledRows(every.pooled, every.labels, structures, every.folds, True)
    setting = Setting(Ridge(0.1), linear_weight=0.3)
    kernel = kernel_between(every, setting)
    found = setting.regression.fit(kernel, every.labels, np.arange(40))
    factors, offset = linear_term(every, setting, kernel, found.weights)
    gaussian = kernel_between(every, replace(setting, linear_weight=0.0))
    linear = kernel.x @ factors[:-1] + every.n_atoms[:, None] * factors[-1] + offset
    both = gaussian.evaluate(found, np.arange(60)) + linear
    np.testing.assert_allclose(both, kernel.evaluate(found, np.arange(60)), atol=1e-6)
