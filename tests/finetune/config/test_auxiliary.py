from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import load_config

ONE = {"head": "oxides", "data": ["a.extxyz"]}
TWO = {"head": "alloys", "data": ["b"], "stream": {}}
Problems = Callable[[Path, dict[str, Any]], list[str]]


def found(
    tmp_path: Path, problems: Problems, changed: Callable[..., dict], auxiliary: Any
) -> list[str]:
    return problems(tmp_path, changed("mft", auxiliary=auxiliary))


@pytest.mark.parametrize(
    ("auxiliary", "message"),
    [
        (5, "auxiliary: Input should be a valid dictionary or instance of Auxil"),
        ([], "auxiliary: List should have at least 1 item"),
        ([ONE, 5], "auxiliary.1: Input should be a valid dictionary or instance of"),
        ([ONE, {**TWO, "haed": "x"}], "auxiliary.1.haed: unknown key; did you mean 'h"),
        ([ONE, {"head": "b"}], "auxiliary.1: either 'data' or"),
        ([ONE, ONE], "two heads are called 'oxides'; give one of them another 'name'"),
        ([ONE, {**TWO, "name": "gap"}], "the auxiliary head are both 'gap'"),
        ([ONE, {**TWO, "name": "a b"}], "auxiliary.1.name: .*letters, digits"),
        ([ONE, {**TWO, "combine": "joint"}], "'combine' is to be the same for all"),
        (
            [{**ONE, "aux_prob": 0.6}, TWO],
            "shares that are given are 0.6 in all, which leaves nothing of one half",
        ),
        (
            [{**ONE, "aux_prob": 0.6}, {**TWO, "aux_prob": 0.4}],
            "shares of 1 in all leave no step for the properties",
        ),
        ({**TWO, "n_frames": 5}, "n_frames compares all frames with each other"),
        ({**TWO, "stream": {"fraction": 0}}, "auxiliary.stream.fraction: .*greater"),
        ({**TWO, "stream": {"limits": 3}}, "auxiliary.stream.limits: unknown key; did"),
        (
            {"head": "a", "self_replay": {}, "stream": {}},
            "'stream' is for 'data'; frames of 'self_replay' are in memory",
        ),
        ({**ONE, "max_force": 0}, "auxiliary.max_force: .*greater than 0"),
    ],
)
def test_problems_are_named(
    tmp_path: Path,
    problems: Problems,
    changed: Callable[..., dict],
    auxiliary: Any,
    message: str,
) -> None:
    (problem,) = found(tmp_path, problems, changed, auxiliary)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(problem)


def test_training_that_goes_on_has_one_head_from_each(
    tmp_path: Path, problems: Problems, changed: Callable[..., dict]
) -> None:
    tasks = [ONE, {**ONE, "name": "more"}]
    document = changed("mft", auxiliary=tasks, transfer_properties=True)
    (problem,) = problems(tmp_path, document)
    assert problem.endswith("several auxiliary heads start from 'oxides'")


def test_several_heads_share_the_steps(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., dict]
) -> None:
    third = {"head": "oxides", "name": "more", "data": ["c.extxyz"], "aux_prob": 0.3}
    plan = load(tmp_path, changed("mft", auxiliary=[ONE, TWO, third])).plan
    shares = {name: field.share for name, field in plan.force_fields.items()}
    assert shares == pytest.approx({"oxides": 0.1, "alloys": 0.1, "more": 0.3})
    assert plan.energy_head == "oxides"
    assert plan.sources == {"oxides": "oxides", "alloys": "alloys"}
    assert plan.force_fields["more"].source == "oxides"


def test_paths_of_a_list_start_at_the_file(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., dict]
) -> None:
    config = load(tmp_path, changed("mft", auxiliary=[ONE, TWO]))
    paths = [path for task in config.auxiliary for path in task.data]
    assert paths == [tmp_path / "a.extxyz", tmp_path / "b"]
    # what a run folder keeps is read again
    text = tmp_path / "again.yaml"
    text.write_text(config.model_dump_json())
    assert load_config(text) == config


def test_other_strategies_have_the_steps_that_are_left(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., dict]
) -> None:
    tasks = [{**ONE, "aux_prob": 0.2}, {**TWO, "aux_prob": 0.3}]
    config = load(tmp_path, changed("mft", auxiliary=tasks, training__steps=1000))
    assert derive_config(config, "ft").training.steps == 500
    assert derive_config(config, "kernel").energy_head == "oxides"


def test_presets_are_for_each_of_several(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., dict]
) -> None:
    document = changed("mft", preset="qm9", auxiliary=[ONE, TWO])
    config = load(tmp_path, document)
    assert [task.head for task in config.auxiliary] == ["oxides", "alloys"]
    assert {task.loss.virial for task in config.auxiliary} == {(0.0, 0.0)}
    document["auxiliary"].append("third")
    with pytest.raises(ConfigError, match=r"auxiliary\.2: Input should be a valid"):
        load(tmp_path, document)
