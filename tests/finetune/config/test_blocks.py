from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftscreen.errors import ConfigError


def test_defaults_of_mft_are_those_of_the_paper(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    config = load(tmp_path, changed("mft"))
    assert config.downstream_share == 0.5
    assert config.auxiliary.lambda_reg == 1.0
    assert config.training.learning_rate == (1e-3, 1e-5)
    assert config.training.gradient_max_norm == 5.0
    assert (config.training.batch_size, config.auxiliary.batch_size) == (512, 128)


@pytest.mark.parametrize(
    ("strategy", "change", "message"),
    [
        ("mft", {"auxiliary__head": "gap"}, "auxiliary head are both 'gap'"),
        ("mft", {"auxiliary__head": "v1.1"}, "auxiliary.head: .*letters, digits"),
        ("mft", {"auxiliary__head": ""}, "auxiliary.head: .*letters, digits"),
        ("pretrain", {"energy_head": "metals"}, "'metals' is not a head"),
        ("pretrain", {"probabilities": {"c": 1}}, "'branches' has oxides, alloys"),
        ("pretrain", {"branches": {}}, "branches: .* at least 1"),
        ("ft", {"data__train": []}, "data.train: .* at least 1"),
        (
            "ft",
            {"properties__gap__loss": "huber"},
            "gap.loss: .*'mse', 'mae' or 'smooth",
        ),
        ("ft", {"properties": {}}, "properties: .* at least 1"),
        ("mft", {"auxiliary__aux_prob": 0.0}, "auxiliary.aux_prob: .* greater than 0"),
        (
            "ft",
            {
                "properties__gap__head": "extensive",
                "properties__gap__transform": "log10",
            },
            "transform: log10 is for head: intensive",
        ),
        ("mft", {"transfer_backbone": False}, "needs transfer_head: false"),
        (
            "mft",
            {"transfer_properties": True, "transfer_head": False},
            "needs transfer_head: true",
        ),
        (
            "mft",
            {"transfer_properties": True, "properties__gap__transform": "standardise"},
            "gap has transform: standardise",
        ),
        (
            "mft",
            {"auxiliary__combine": "joint", "auxiliary__aux_prob": 0.5},
            "aux_prob is for 'combine: alternate'",
        ),
        ("mft", {"auxiliary__lambda_reg": 0}, "lambda_reg: 0 needs 'combine: joint'"),
        ("mft", {"auxiliary__lambda_reg": -1}, "lambda_reg.* greater than or equal"),
        ("ft", {"training__patience": 0}, "training.patience: .* greater than 0"),
        ("ft", {"training__layer_decay": 1.5}, "layer_decay: .* less than or equal"),
        ("ft", {"preset": "qm8"}, "preset: .*'qm9' or 'matbench'"),
        ("ft", {"preset": ["qm9"]}, "preset: .*'qm9' or 'matbench'"),
        ("ft", {"training__learning_rate": [1e-5, 1e-3]}, "1e-05, 0.001\\] rises"),
        ("ft", {"training__learning_rate": [math.inf, 1e-3]}, "rate.0: .* finite"),
        ("ft", {"training__seed": -1}, "training.seed: .* greater than or equal to 0"),
        ("ft", {"training__seed": 2**32}, "training.seed: .* less than 4294967296"),
        ("mft", {"auxiliary__lambda_reg": math.inf}, "auxiliary.lambda_reg: .* finite"),
        ("mft", {"auxiliary__lambda_reg": "much"}, "auxiliary.lambda_reg: .* 'auto'"),
        (
            "mft",
            {"auxiliary__loss": {"energy": [0, 20]}},
            r"energy: \[0, 20\]: deepmd-kit leaves the term out",
        ),
        ("mft", {"auxiliary__elements": ["Xx"]}, "elements.0: .*'Xx' is not a chem"),
        ("scratch", {"elements": ["si"]}, "elements.0: .*'si' is not a chemical"),
        (
            "pretrain",
            {"branches__v1.1": {"data": ["a.extxyz"]}},
            "branches.v1.1: .*letters, digits, underscores and dashes",
        ),
    ],
)
def test_values_that_make_no_sense(
    tmp_path: Path,
    strategy: str,
    change: dict[str, Any],
    message: str,
    load: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, changed(strategy, **change))


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_measured_weight_needs_a_gradient(
    tmp_path: Path,
    kind: str,
    load: Callable[..., Any],
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    auxiliary = {
        "head": "oxides", "self_replay": {}, "lambda_reg": "auto",
        "loss": {"kind": kind},
    }  # fmt: skip
    document = changed("mft", auxiliary=auxiliary)
    if kind == "mae":
        assert load(tmp_path, document).auxiliary.lambda_reg == "auto"
        return
    (problem,) = problems(tmp_path, document)
    assert "take loss.kind: mae, or a number for lambda_reg" in problem
