from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from ase.build import bulk

import mftscreen
from mftscreen.errors import ConfigError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.tune import compare, finetune


class Strategy(Enum):
    """As a user's own code may have it."""

    KERNEL = "kernel"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    structures = [
        bulk(formula, "rocksalt", a=a)
        for formula in ("MgO", "CaO", "NaCl")
        for a in (4.2, 4.4, 4.6, 4.8)
    ]
    volumes = [atoms.get_volume() for atoms in structures]
    return pd.DataFrame({"atoms": structures, "V": volumes})


def _document(frame: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    return {
        "strategy": Strategy.KERNEL,
        "name": "volumes",
        "pretrained": "mft-mini",
        "properties": {"volume_of_cell": {"unit": "Å^3", "column": "V"}},
        "data": {"train": frame, "test": {"again": frame[:3]}},
        **changes,
    }


def test_the_package_is_the_job() -> None:
    import mftscreen.finetune.run.run

    assert inspect.ismodule(mftscreen.finetune)
    with pytest.raises(ConfigError, match="No such file"):
        mftscreen.finetune("nothing.yaml")


@pytest.mark.slow
def test_a_dictionary_with_a_table_is_trained(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = _document(frame)
    result = mftscreen.finetune(document)
    assert result.path.resolve() == tmp_path / "volumes" / "model.mft"
    assert result.directory == result.path.parent
    metrics = result.metrics
    assert set(metrics["part"]) == {"validation", "again"}
    assert set(metrics["unit"]) == {"Å^3"}
    assert result.model.properties["volume_of_cell"].unit == "Å^3"
    assert result.comparison is result.collapse is None
    assert result.card.properties["volume_of_cell"].training_set == "12 rows in memory"
    assert repr(result).startswith("<volumes by kernel in volumes/")
    assert "Å^3" in result._repr_html_()
    with plt.rc_context({"backend": "agg"}):
        assert result.plot().get_title().startswith("12 rows")
        plt.close("all")
    with pytest.raises(ConfigError, match="name: one of volume_of_cell is needed"):
        result.plot("gap")
    # what was done is known again, rows in memory included
    again = finetune(document, resume=True)
    assert again.card == result.card
    with pytest.raises(ConfigError, match="already holds a run"):
        finetune(document)
    # what was trained is something to start from
    further = finetune({**document, "pretrained": result}, tmp_path / "further")
    assert further.card.provenance["config"]["pretrained"] == "model.mft"
    with pytest.raises(ConfigError, match="differs from the configuration given"):
        finetune({**document, "seed": 2}, resume=True)


@pytest.mark.slow
def test_strategies_are_compared(
    tmp_path: Path, pretrained: Path, write_config: Callable[..., Path]
) -> None:
    config = write_config(
        "compared",
        "mft",
        pretrained=str(pretrained),
        auxiliary={"head": "first", "data": ["crystals.extxyz"]},
    )
    found = compare(
        config,
        tmp_path,
        strategies="kernel",
        split="random",
        folds=1,
        threads=1,
        collapse_report=False,
    )
    table = found.to_pandas()
    assert table["strategy"].tolist() == ["kernel"]
    assert table["ood_mae"][0] > 0
    assert repr(found) == "<Comparison of kernel on 1 folds; best: kernel>"
    assert "kernel" in found._repr_html_()
    (fold,) = found.folds
    same = compare(
        load_config(config), tmp_path, strategies=["kernel"],
        split=tmp_path / "split.json", folds=[fold],
    )  # fmt: skip
    assert same.to_pandas().equals(table)
    with pytest.raises(ConfigError, match="'svm' is not one of scratch"):
        compare(config, tmp_path, strategies=["svm"], split="random")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (3, "not int"),
        (["strategy"], "not list"),
        ({"strategy": "none"}, "one of scratch, kernel"),
        ({"strategy": "kernel", "data": {"train": 3}}, "nor rows in memory"),
    ],
)
def test_what_is_no_configuration_is_refused(config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        finetune(config)
