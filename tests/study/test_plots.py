from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from PIL import Image

from mftscreen.study import plots
from mftscreen.study.job import JobResult, PropertyResult
from mftscreen.study.plan import Conditions
from mftscreen.study.plots import write_plots
from mftscreen.study.summary import measurements, summarize


def _result(strategy: str, fold: str, share: float, mae: float) -> JobResult:
    conditions = Conditions("gap", "boom", fold, strategy, train_share=share)
    metrics = {"ood": {"n": 9.0, "mae": mae, "rmse": mae}}
    found = PropertyResult("gap", "Ha", round(100 * share), metrics)
    return JobResult(conditions, "0", (found,), 1.0)


def _write(folder: Path, results: list[JobResult]) -> list[str]:
    found = measurements(results)
    paths = write_plots(folder, found, summarize(found))
    for path in paths:
        with Image.open(path) as image:
            assert len(image.convert("L").getcolors()) > 20
    return [path.name for path in paths]


def test_there_is_a_figure_for_each_thing_that_was_varied(tmp_path: Path) -> None:
    one = [_result("ft", "a", 1.0, 0.1)]
    assert _write(tmp_path, one) == []
    folds = [*one, _result("ft", "b", 1.0, 0.2), _result("mft", "b", 1.0, 0.15)]
    assert _write(tmp_path, folds) == ["folds-gap-boom-gap-ood.png"]
    compared = [*folds, _result("scratch", "a", 1.0, 0.3)]
    assert _write(tmp_path, compared)[1:] == ["gains.png"]
    shares = [*compared, _result("ft", "a", 0.5, 0.4), _result("ft", "a", 0.1, 0.6)]
    assert _write(tmp_path, shares)[2:] == ["efficiency-gap-boom-gap-ood.png"]


def test_gains_are_drawn_of_a_share_that_all_lines_have(tmp_path: Path) -> None:
    results = [_result(s, "a", 0.1, 0.3) for s in ("scratch", "ft", "mft")]
    results += [_result("kernel", "a", 0.265, 0.2)]
    assert "gains.png" in _write(tmp_path, results)


def test_folds_of_all_lines_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        Axes, "set_xticks", lambda _, at, labels=(), **__: drawn.append(list(labels))
    )
    ft, mft = {"a": 3.0, "b": 1.0, "c": 2.0}, {"c": 1.0, "d": 9.0, "e": 5.0}
    results = [_result("ft", fold, 1.0, mae) for fold, mae in ft.items()]
    results += [_result("mft", fold, 1.0, mae) for fold, mae in mft.items()]
    list(plots._fold_figures(measurements(results), "mae"))
    assert drawn == [["b", "c", "a", "e", "d"]]


def test_classes_have_figures_beside_numbers(tmp_path: Path) -> None:
    results = []
    for strategy, fold, share, error in (
        ("scratch", "a", 1.0, 0.4),
        ("ft", "a", 1.0, 0.2),
        ("ft", "b", 1.0, 0.3),
        ("ft", "a", 0.5, 0.35),
    ):
        number = _result(strategy, fold, share, error)
        ood = {"n": 9.0, "log_loss": error, "auc": 0.9}
        metal = PropertyResult("metal", "probability", 9, {"ood": ood})
        found = (*number.properties, metal)
        results.append(replace(number, properties=found))
    assert _write(tmp_path, results) == [
        "folds-gap-boom-gap-ood.png",
        "folds-gap-boom-metal-ood.png",
        "gains.png",
        "efficiency-gap-boom-gap-ood.png",
        "efficiency-gap-boom-metal-ood.png",
    ]


def test_each_property_of_a_task_has_its_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for strategy, error in (("scratch", 0.4), ("ft", 0.2)):
        number = _result(strategy, "a", 1.0, error)
        (gap,) = number.properties
        ood = {"n": 9.0, "mae": 0.6 - error, "rmse": 1.0}
        other = PropertyResult("other", "Ha", 9, {"ood": ood})
        results.append(replace(number, properties=(gap, other)))
    heights: list[list[float]] = []
    bar = Axes.bar

    def recorded(self: Axes, x: list[float], y: list[float], *a: Any, **k: Any) -> Any:
        heights.append(list(y))
        return bar(self, x, y, *a, **k)

    monkeypatch.setattr(Axes, "bar", recorded)
    assert "gains.png" in _write(tmp_path, results)
    assert heights == [pytest.approx([50.0, -100.0])]
