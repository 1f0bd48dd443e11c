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


def test_preset_s_size_is_for_its_own_kind_of_descriptors(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    document = changed("scratch", preset="matbench")
    assert load(tmp_path, document).descriptor.n_layers == 16
    for given in ({"n_layers": 3}, {"type": "dpa3", "n_layers": 3}):
        found = load(tmp_path, {**document, "descriptor": given}).descriptor
        assert (found.n_layers, found.n_dim) == (3, 128)
    given = {"type": "dpa4", "channels": 16}
    found = load(tmp_path, {**document, "descriptor": given}).descriptor
    assert (found.type, found.channels) == ("dpa4", 16)


def test_preset_leaves_what_is_given(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    config = load(tmp_path, changed("mft", preset="matbench"))
    assert (config.training.steps, config.training.batch_size) == (10, 512)
    assert config.auxiliary.head == "oxides"
    assert config.properties["gap"].column == "gap_ev"
