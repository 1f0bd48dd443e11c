from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mftscreen.finetune.strategies import Plan


def test_only_the_heads_are_trained(plan_of: Callable[..., Plan]) -> None:
    assert plan_of("lp") == replace(plan_of("ft"), freezes_descriptor=True)
