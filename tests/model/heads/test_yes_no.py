"""The loss of heads for yes or no."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepmd.pt.loss import TaskLoss

from mftscreen.model.heads.yes_no import KIND
from mftscreen.transforms import Transform


def test_it_is_the_cross_entropy_of_the_transforms_probabilities() -> None:
    made = Transform.fit("logistic", [1.0, 0.0, 0.0, 0.0])
    parameters = {"var_name": "metal", "scale": made.std, "shift": made.mean}
    loss = TaskLoss.get_class_by_type(KIND).get_loss(
        {**parameters, "starter_learning_rate": 1e-3}
    )
    outputs = np.array([[0.9], [-0.2], [0.3]])
    labels = np.array([[1.0], [0.0], [1.0]])

    def model(**_: object) -> dict[str, torch.Tensor]:
        return {"metal": torch.tensor(outputs, requires_grad=True)}

    inputs = {"atype": torch.zeros((3, 2), dtype=torch.int64)}
    _, total, shown = loss(inputs, model, {"metal": torch.tensor(labels)}, 2)
    p = made.undo(outputs)
    expected = -np.log(np.where(labels == 1.0, p, 1.0 - p)).sum()
    assert float(total.detach()) == pytest.approx(expected)
    assert total.requires_grad
    assert float(shown["log_loss"]) == pytest.approx(expected / 3)
    assert float(shown["wrong"]) == pytest.approx(np.mean((p > 0.5) != (labels == 1.0)))
    (needed,) = loss.label_requirement
    assert (needed.key, needed.ndof) == ("metal", 1)
