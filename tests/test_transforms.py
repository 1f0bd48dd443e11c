"""What is done to labels, and undone."""

from __future__ import annotations

import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.transforms import Transform, TransformKind


@pytest.mark.parametrize("kind", ["identity", "log10", "standardise"])
def test_undo_is_the_inverse_of_apply(kind: TransformKind) -> None:
    labels = np.array([0.3, 1.0, 7.0, 20.0])
    transform = Transform.fit(kind, labels)
    targets = transform.apply(labels)
    np.testing.assert_allclose(transform.undo(targets), labels, rtol=1e-14)
    expected = {
        "identity": labels,
        "log10": np.log10(labels),
        "standardise": (labels - labels.mean()) / labels.std(),
    }
    np.testing.assert_allclose(targets, expected[kind], rtol=1e-14)
    again = Transform.model_validate_json(transform.model_dump_json())
    np.testing.assert_array_equal(again.undo(targets), transform.undo(targets))


def test_identity_changes_no_bit() -> None:
    labels = np.random.default_rng(0).normal(size=100) * 1e3
    np.testing.assert_array_equal(Transform().apply(labels), labels)
    np.testing.assert_array_equal(Transform().undo(labels), labels)


def test_labels_that_cannot_be_transformed() -> None:
    with pytest.raises(DataError, match="log10 of -1"):
        Transform(kind="log10").apply([2.0, -1.0])
    with pytest.raises(DataError, match="all labels are 3"):
        Transform.fit("standardise", [3.0, 3.0])
    with pytest.raises(DataError, match=r"all labels are 0\.1"):
        Transform.fit("standardise", [0.1] * 3)
    assert np.isinf(Transform(kind="log10").undo(400.0))


def test_probabilities_of_a_head_are_the_share_at_first() -> None:
    labels = [1.0] * 9 + [0.0] * 89
    made = Transform.fit("logistic", labels)
    np.testing.assert_array_equal(made.apply(labels), labels)
    # deepmd-kit's heads begin with the mean of their labels
    assert made.undo(0.1) == pytest.approx(0.1)
    assert made.undo(0.1 + 0.3) == pytest.approx(0.1 * np.e / (0.9 + 0.1 * np.e))
    assert (made.undo([-1e3, 1e3]) == [0.0, 1.0]).all()
