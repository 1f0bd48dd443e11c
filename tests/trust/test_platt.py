"""Probabilities that are calibrated on rows held out."""

from __future__ import annotations

import numpy as np
import pytest

from mftscreen.metrics import classification_metrics
from mftscreen.trust.platt import (
    calibrate_held_out,
    can_calibrate,
    cross_fitted,
    draw_balanced,
    fit_platt,
    logits,
)


def _rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outputs, labels, and the probabilities that these were drawn with."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(scale=2.0, size=n)
    truth = 1.0 / (1.0 + np.exp(-(1.5 * outputs - 1.0)))
    return outputs, (rng.uniform(size=n) < truth).astype(float), truth


def test_the_logistic_that_labels_were_drawn_by_is_found() -> None:
    outputs, labels, truth = _rows(20_000)
    made = fit_platt(outputs, labels)
    assert made.kind == "logistic"
    assert made.std == pytest.approx(1.5, rel=0.05)
    assert made.mean == pytest.approx(-1.0, rel=0.1)
    np.testing.assert_allclose(made.undo(outputs), truth, atol=0.02)


def test_units_of_the_outputs_do_not_matter() -> None:
    outputs, labels, _ = _rows(300)
    one = fit_platt(outputs, labels).undo(outputs)
    scaled = 1e5 * outputs - 7e6
    other = fit_platt(scaled, labels).undo(scaled)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_kinds_that_are_apart_do_not_make_certainties() -> None:
    outputs = np.linspace(-1.0, 1.0, 20)
    found = fit_platt(outputs, (outputs > 0).astype(float)).undo(outputs)
    assert found[0] > 0.01
    assert found[-1] < 0.99


def test_outputs_that_tell_nothing_or_the_reverse_give_the_share() -> None:
    outputs, labels, _ = _rows(2_000)
    for misleading in (-outputs, np.zeros_like(outputs)):
        found = fit_platt(misleading, labels).undo(misleading)
        np.testing.assert_allclose(found, labels.mean(), atol=0.01)


def test_outputs_that_differ_by_rounding_tell_nothing() -> None:
    _, labels, _ = _rows(60)
    outputs = 0.3 + 5e-17 * (np.arange(60) % 3 - 1)
    assert len(set(outputs.tolist())) > 1
    found = fit_platt(outputs, labels).undo([0.29, 0.3, 0.31])
    np.testing.assert_allclose(found, labels.mean(), atol=0.02)


def test_a_row_is_not_calibrated_on_its_own_label() -> None:
    outputs, labels, _ = _rows(60)
    folds = draw_balanced(labels, 5)
    before = cross_fitted(outputs, labels, folds)
    labels[7] = 1.0 - labels[7]
    after = cross_fitted(outputs, labels, folds)
    same = folds == folds[7]
    np.testing.assert_array_equal(after[same], before[same])
    assert (after[~same] != before[~same]).any()
    assert classification_metrics(before, labels)["auc"] > 0.8


def test_rows_that_were_fitted_do_not_calibrate() -> None:
    outputs, labels, _ = _rows(80)
    new = np.arange(80) < 60
    made, found = calibrate_held_out(outputs, labels, new)
    assert made == fit_platt(outputs[:60], labels[:60])
    labels[60:] = 1.0 - labels[60:]
    _, after = calibrate_held_out(outputs, labels, new)
    np.testing.assert_array_equal(after, found)
    np.testing.assert_array_equal(found[60:], made.undo(outputs[60:]))
    assert (found[:60] != made.undo(outputs[:60])).any()


def test_five_of_each_kind_are_enough() -> None:
    assert can_calibrate(np.array([0.0, 1.0] * 5))
    assert not can_calibrate(np.array([0.0] * 50 + [1.0] * 4))


def test_logits_are_undone() -> None:
    z = np.linspace(-30.0, 30.0, 13)
    np.testing.assert_allclose(logits(1.0 / (1.0 + np.exp(-z))), z, atol=1e-2)
    assert np.isfinite(logits(np.array([0.0, 1.0]))).all()
