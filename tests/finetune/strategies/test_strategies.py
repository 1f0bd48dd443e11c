from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mftscreen.finetune.strategies import COMPARABLE, STRATEGIES


def test_each_strategy_is_the_module_of_its_name(configure: Callable[..., Any]) -> None:
    assert list(COMPARABLE) == ["scratch", "kernel", "ft", "lp", "mft"]
    assert list(STRATEGIES) == [*COMPARABLE, "auto", "pretrain"]
    for name, config in STRATEGIES.items():
        assert config.__module__ == f"mftscreen.finetune.strategies.{name}"
        assert configure(name).strategy == name
