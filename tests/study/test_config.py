from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.recipes import find_recipes
from mftscreen.study.config import load_study

STUDIES = {name: r for name, r in find_recipes().items() if r.is_study}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_among_the_recipes_is_valid(name: str) -> None:
    study = load_study(STUDIES[name].path)
    assert all(path.exists() for path in study.tasks.values())
    assert len(STUDIES[name].summary) > 20


def test_paths_start_at_the_folder_of_the_study(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_study(
        tasks={"a": "a.yaml"},
        splits={"loco": {"method": "loco", "published": "folds.json"}},
        backbones={"own": {"pretrained": "model.mft"}, "shipped": {"pretrained": "x"}},
    )
    study = load_study(path)
    assert study.tasks == {"a": tmp_path / "a.yaml"}
    assert study.splits["loco"].published == tmp_path / "folds.json"
    assert study.backbones["own"].pretrained == str(tmp_path / "model.mft")
    assert study.backbones["shipped"].pretrained == "x"
    (grid,) = study.grids
    assert study.chosen(grid, "splits") == ["loco"]
    assert study.chosen(grid, "backbones") == ["own", "shipped"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"grids": [{"strategies": ["kernel"], "seed": [1]}]},
            "grids.0.seed: unknown key; did you mean 'seeds'?",
        ),
        ({"grids": [{"strategies": ["kernels"]}]}, "'kernels' is not one of scratch"),
        (
            {"grids": [{"strategies": ["ft"], "splits": ["loco"]}]},
            "'loco' is not one of the splits; there are random",
        ),
        (
            {
                "backbones": {"two": {"pretrained": ["mft-mini", "7net-0"]}},
                "grids": [{"strategies": ["kernel", "ft"]}],
            },
            "ft starts from one model, and backbone 'two' is several",
        ),
        ({"grids": [{"strategies": ["ft"], "folds": []}]}, "grids.0.folds"),
        ({"grids": [{"strategies": ["ft"], "folds": True}]}, "grids.0.folds"),
        ({"grids": [{"strategies": ["ft"], "tasks": []}]}, "grids.0.tasks"),
        ({"published": "table_1"}, "study.yaml: published: no table 'table_1'"),
        (
            {"grids": [{"strategies": ["ft"], "folds": 0}]},
            "study.yaml: grids.0.folds: a number from 1 or a list of names is needed, "
            "not 0",
        ),
        ({"name": "a b"}, "'a b' is not made of letters"),
        ({"splits": {"r": {"id_share": 0.1}}}, "either 'method' or 'file'"),
        (
            {"splits": {"r": {"method": "random", "published": "f"}}},
            "published folds are of method: loco",
        ),
    ],
)
def test_problems_are_named(
    write_study: Callable[..., Path], changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(write_study(**changed))
    assert expected in str(caught.value)
