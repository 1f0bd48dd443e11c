from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mftscreen.finetune.strategies import Plan


def test_everything_is_made_from_nothing(configure: Callable[..., Any]) -> None:
    scratch = configure("scratch")
    assert scratch.plan == Plan(
        properties=scratch.properties,
        data=scratch.data,
        training=scratch.training,
        descriptor=scratch.descriptor,
        elements=["Si"],
    )
