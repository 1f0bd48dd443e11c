"""A tiny task and studies of it; jobs by kernels take about a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mftscreen.finetune.config.recipes import find_recipe

SPLITS = {"random": {"method": "random", "options": {"folds": 3, "val_share": 0.1}}}


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of the smoke study's task, its data beside it."""
    import runpy

    folder = tmp_path_factory.mktemp("task")
    recipe = find_recipe("paper/smoke/task")
    script = runpy.run_path(str(recipe.path.with_name("make_data.py")))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        script["main"]()
    path = folder / "task.yaml"
    path.write_text(recipe.text)
    return path


@pytest.fixture
def write_study(tmp_path: Path, tiny_task: Path) -> Callable[..., Path]:
    """Return what writes a study of the tiny task: kernels on three random folds."""

    def write_study(file: str = "study.yaml", **settings: Any) -> Path:
        document = {
            "name": "tiny",
            "tasks": {"density": str(tiny_task)},
            "splits": SPLITS,
            "grids": [{"strategies": ["kernel"]}],
        }
        path = tmp_path / file
        path.write_text(yaml.safe_dump(document | settings))
        return path

    return write_study
