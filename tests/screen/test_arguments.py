from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mftscreen.errors import ConfigError
from mftscreen.finetune.tune import TrainingResult
from mftscreen.jobs.estimator import MFTRegressor
from mftscreen.screen.arguments import as_element_filter, check_workplace, model_files
from mftscreen.screen.candidates.elements import ElementFilter


def test_models_may_be_names_files_results_and_estimators(
    tiny_model: Path, tmp_path: Path
) -> None:
    fitted = MFTRegressor.load(tiny_model)
    with model_files(None, [fitted, TrainingResult(tiny_model)], "mft-mini", None) as (
        first, second, third,
    ):  # fmt: skip
        written, trained = map(Path, first)
        assert written.read_bytes() == tiny_model.read_bytes()
        assert trained == tiny_model
        assert (second, third) == (["mft-mini"], [])
    assert not written.exists()
    # a folder keeps it
    with model_files(tmp_path, fitted) as ((kept,),):
        pass
    assert Path(kept).parent == tmp_path / "models"
    with model_files(tmp_path, [fitted]) as ((same,),):
        assert same == kept


@pytest.mark.parametrize("model", [3, SimpleNamespace(save=print), MFTRegressor()])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with (
        pytest.raises(ConfigError, match=r"fitted estimators .* are expected, got"),
        model_files(None, model),
    ):
        pass


def test_filters_are_made_of_mappings() -> None:
    found = as_element_filter({"max_elements": np.int64(2), "exclude": "Cd, Pb"})
    assert found == ElementFilter(2, frozenset({"Cd", "Pb"}))
    assert as_element_filter(found) is found
    assert as_element_filter(None) is None
    with pytest.raises(ConfigError, match="did you mean Pb"):
        as_element_filter({"exclude": ["pb"]})


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_workplace(3, 0, 4, "tpu")
    places = [problem.split(":")[0] for problem in caught.value.problems]
    assert places == ["run", "n_jobs", "scheduler", "device"]
    check_workplace(None, -1, None, "cpu")
