"""The rows of a task that a kernel is fitted to, and those that are held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.kernel import property_fitter as module
from mftscreen.finetune.kernel.fit import Fitted
from mftscreen.finetune.kernel.property_fitter import PropertyFitter
from mftscreen.finetune.kernel.rows import PooledRows
from mftscreen.finetune.task.task import Task, load_task
from mftscreen.model.network.backend import DeepmdNetwork


@pytest.fixture(scope="module")
def task(write_config: Callable[..., Path]) -> Task:
    pretrained = "mft-mini-crystals"
    path = write_config("kernel-task", "kernel", training=None, pretrained=pretrained)
    return load_task(load_config(path))


@pytest.fixture(scope="module")
def network(task: Task) -> DeepmdNetwork:
    return DeepmdNetwork(task.state or {})


def test_the_models_own_force_field_is_kept(task: Task, network: DeepmdNetwork) -> None:
    assert task.energy_head == "crystals"
    assert network.energy_heads() == ["crystals"]


def test_without_validation_rows_all_are_held_out_in_turn(
    task: Task, network: DeepmdNetwork
) -> None:
    assert len(task.heads["softness"]["train"]) == 30
    assert not task.heads["softness"]["validation"]
    readout, held_out, folds = PropertyFitter(task, network).fit("softness")
    assert set(folds.tolist()) <= set(range(5))
    assert len(set(folds.tolist())) > 1
    assert np.isfinite(held_out).all()
    assert readout.card.metrics["n"] == 30


def test_validation_rows_alone_are_held_out(task: Task, network: DeepmdNetwork) -> None:
    rows = task.heads["softness"]["train"]
    divided = {"train": rows[:22], "validation": rows[22:]}
    task = replace(task, data=replace(task.data, rows=divided))
    parts = task.heads["softness"]
    readout, held_out, _ = PropertyFitter(task, network).fit("softness")
    n = len(parts["train"])
    assert np.isnan(held_out[:n]).all()
    assert np.isfinite(held_out[n:]).all()
    assert readout.card.metrics["n"] == len(parts["validation"])


@pytest.mark.parametrize(("n_repeated", "n_measured"), [(3, 8), (11, 11)])
def test_repeated_training_rows_are_predicted_and_choose_nothing(
    task: Task, network: DeepmdNetwork, n_repeated: int, n_measured: int
) -> None:
    rows = task.heads["softness"]["train"]
    held_out = [*rows[:n_repeated], *rows[22 : 33 - n_repeated]]
    divided = {"train": rows[:22], "validation": held_out}
    task = replace(task, data=replace(task.data, rows=divided))
    fitted = PropertyFitter(task, network).fit("softness")
    assert fitted.readout.card.metrics["n"] == n_measured
    assert np.isfinite(fitted.held_out[22:]).all()


@pytest.mark.parametrize(
    ("loss", "head", "metric", "per_atom", "linear", "by_size"),
    [
        ("mse", "intensive", "rmse", (False,), False, False),
        ("smooth_mae", "extensive", "mae", (True,), True, False),
        ("mae", "r2", "mae", (False, True), True, True),
    ],
)
def test_loss_and_head_say_what_is_fitted(
    task: Task,
    network: DeepmdNetwork,
    monkeypatch: pytest.MonkeyPatch,
    loss: str,
    head: str,
    metric: str,
    per_atom: tuple[bool, ...],
    linear: bool,
    by_size: bool,
) -> None:
    asked: list[Any] = []

    def fit(
        rows: PooledRows,
        metric: str,
        *,
        per_atom: object,
        linear: object,
        other_folds: object,
        new: object,
    ) -> Fitted:
        asked.append((metric, per_atom, linear, rows.by_size, len(rows)))
        return Fitted(None, np.zeros(len(rows)), rows.folds)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "fit_readout", fit)
    properties = {
        name: settings.model_copy(update={"loss": loss, "head": head})
        for name, settings in task.config.plan.properties.items()
    }
    config = task.config.model_copy(update={"properties": properties})
    changed = replace(task, config=config)
    PropertyFitter(changed, network).fit("softness")
    assert asked == [(metric, per_atom, linear, by_size, 30)]


def test_one_row_is_too_little(task: Task, network: DeepmdNetwork) -> None:
    rows = {"train": task.heads["softness"]["train"][:1], "validation": []}
    small = replace(task, data=replace(task.data, rows=rows))
    with pytest.raises(DataError, match="at least two rows with a label of 'softness'"):
        PropertyFitter(small, network).fit("softness")
