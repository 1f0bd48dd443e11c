from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mftscreen.finetune.strategies import STRATEGIES


def test_auto_compares_and_has_the_settings_of_all(
    configure: Callable[..., Any],
) -> None:
    auto = configure("auto")
    assert auto.as_mft == configure("mft")
    assert auto.plan == auto.as_mft.plan
    assert [n for n, c in STRATEGIES.items() if c.compares_first] == ["auto"]
    assert [n for n in STRATEGIES if configure(n).as_mft] == ["mft", "auto"]
