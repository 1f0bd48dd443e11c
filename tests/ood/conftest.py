"""Rows of MatBench, read once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled

COLUMNS = {"dielectric": "n", "log_gvrh": "log10(G_VRH)", "perovskites": "e_form"}


@cache
def read_task(name: str) -> list[LabelledStructure]:
    path = Path(os.environ["MFTSCREEN_DATA"]) / f"matbench/matbench_{name}.json.gz"
    return list(read_labelled(path, COLUMNS[name]))


@pytest.fixture(scope="session")
def matbench() -> Callable[[str], list[LabelledStructure]]:
    """Give the rows of a task, which no test may change."""
    if "MFTSCREEN_DATA" not in os.environ:
        pytest.skip("no MFTSCREEN_DATA")
    return read_task
