from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("preset", "strategy", "steps", "n_gpus", "loss"),
    [
        ("qm9", "ft", 100_000, 1, "mse"),
        ("qm9", "mft", 100_000, 2, "mse"),
        ("matbench", "lp", 100_000, 1, "smooth_mae"),
        ("matbench", "mft", 200_000, 1, "smooth_mae"),
    ],
)
def test_presets_are_the_columns_of_table_8(
    tmp_path: Path,
    preset: str,
    strategy: str,
    steps: int,
    n_gpus: int,
    loss: str,
    load: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    document = changed(strategy, preset=preset)
    del document["training"]
    config = load(tmp_path, document)
    assert (config.training.steps, config.training.n_gpus) == (steps, n_gpus)
    assert config.properties["gap"].loss == loss


def test_preset_leaves_what_is_given(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    config = load(tmp_path, changed("mft", preset="matbench"))
    assert (config.training.steps, config.training.batch_size) == (10, 512)
    assert config.auxiliary.head == "oxides"
    assert config.properties["gap"].column == "gap_ev"
