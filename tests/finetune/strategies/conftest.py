"""A configuration of each strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mftscreen.finetune.strategies import STRATEGIES, Plan

KERNEL = {
    "name": "tiny",
    "properties": {"gap": {"unit": "eV"}, "volume": {}},
    "data": {"train": ["train.extxyz"]},
}
DOWNSTREAM = {**KERNEL, "training": {"steps": 10, "batch_size": 32}}


PRETRAINED = {**DOWNSTREAM, "pretrained": "backbone.pt"}


MULTITASK = {**PRETRAINED, "auxiliary": {"head": "oxides", "data": ["ff.extxyz"]}}


SETTINGS: dict[str, dict[str, Any]] = {
    "scratch": {**DOWNSTREAM, "descriptor": {"n_layers": 2}, "elements": ["Si"]},
    "kernel": {**KERNEL, "pretrained": "backbone.pt"},
    "ft": PRETRAINED,
    "lp": PRETRAINED,
    "mft": MULTITASK,
    "auto": MULTITASK,
    "pretrain": {
        "name": "backbone",
        "branches": {"oxides": {"data": ["a.extxyz"]}, "alloys": {"data": ["b.db"]}},
        "probabilities": {"oxides": 3.0},
        "energy_head": "alloys",
        "training": {"steps": 10, "batch_size": 32},
    },
}


@pytest.fixture
def configure() -> Callable[..., Any]:
    """Return what makes a configuration of a strategy, with some settings changed."""
    return _configure


def _configure(strategy: str, **settings: object) -> Any:
    document = {"strategy": strategy, **SETTINGS[strategy], **settings}
    return STRATEGIES[strategy].model_validate(document)


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """Return what gives the plan of such a configuration."""
    return lambda strategy, **settings: _configure(strategy, **settings).plan
