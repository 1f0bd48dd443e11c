"""A valid configuration of each strategy, changed and read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.read import load_config

DOWNSTREAM = {
    "name": "tiny",
    "properties": {"gap": {"label": "band gap", "unit": "eV", "column": "gap_ev"}},
    "data": {"train": ["train.extxyz"]},
    "training": {"steps": 10},
}


PRETRAINED = {**DOWNSTREAM, "pretrained": "mft-mini"}


AUXILIARY = {"data": ["ff.extxyz"], "head": "oxides"}


VALID = {
    "scratch": {"strategy": "scratch", **DOWNSTREAM},
    "kernel": {
        "strategy": "kernel",
        **{key: value for key, value in PRETRAINED.items() if key != "training"},
    },
    "ft": {"strategy": "ft", **PRETRAINED},
    "lp": {"strategy": "lp", **PRETRAINED},
    "mft": {"strategy": "mft", **PRETRAINED, "auxiliary": AUXILIARY},
    "pretrain": {
        "strategy": "pretrain",
        "name": "backbone",
        "branches": {"oxides": {"data": ["a.extxyz"]}, "alloys": {"data": ["b.db"]}},
        "energy_head": "oxides",
        "training": {"steps": 10},
    },
}


@pytest.fixture
def changed() -> Callable[..., dict[str, Any]]:
    """Return what gives a valid document, values set at places like data__train."""
    return _changed


def _changed(strategy: str, **values: Any) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(VALID[strategy])
    for place, value in values.items():
        *parents, key = place.split("__")
        target = document
        for parent in parents:
            target = target.setdefault(parent, {})
        target[key] = value
    return document


@pytest.fixture
def load() -> Callable[[Path, object], Any]:
    """Return what reads a document from a file in a folder."""
    return _load


def _load(tmp_path: Path, document: object) -> Any:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_config(path)


@pytest.fixture
def problems() -> Callable[[Path, object], list[str]]:
    """Return what gives the reasons for which a document is refused."""
    return _problems


def _problems(tmp_path: Path, document: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, document)
    assert caught.value.path == tmp_path / "run.yaml"
    return caught.value.problems
