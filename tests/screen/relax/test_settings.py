from __future__ import annotations

import json
from dataclasses import asdict
from enum import Enum
from typing import Any

import numpy as np
import pytest

from mftscreen.errors import ConfigError
from mftscreen.screen.relax.settings import RelaxSettings, as_relax_settings


class Optimizer(Enum):
    BFGS = "bfgs"


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        (None, None),
        (False, None),
        (True, RelaxSettings()),
        ("fire", RelaxSettings()),
        (Optimizer.BFGS, RelaxSettings("bfgs")),
        ({}, RelaxSettings()),
        ({"optimizer": Optimizer.BFGS, "steps": 3}, RelaxSettings("bfgs", steps=3)),
        (RelaxSettings(fmax=0.1), RelaxSettings(fmax=0.1)),
    ],
)
def test_they_are_read_from_what_is_given(
    given: Any, settings: RelaxSettings | None
) -> None:
    assert as_relax_settings(given) == settings


def test_numbers_of_numpy_go_into_json() -> None:
    settings = RelaxSettings(fmax=np.float32(0.5), steps=np.int64(3))
    assert json.loads(json.dumps(asdict(settings)))["steps"] == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "relax: an optimiser"),
        ("newton", "optimizer is one of fire, bfgs, lbfgs, got 'newton'"),
        ({"fmx": 1}, "relax: fmx: unknown; known: optimizer, cell_filter, fmax"),
        ({"fmax": "a", "steps": 1.5, "relaxer": 3}, "3 problems"),
        ({"cell_filter": ["none"]}, "cell_filter is one of"),
    ],
)
def test_other_things_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_relax_settings(given)
