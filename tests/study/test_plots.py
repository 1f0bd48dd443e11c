from __future__ import annotations

from pathlib import Path

from PIL import Image

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
