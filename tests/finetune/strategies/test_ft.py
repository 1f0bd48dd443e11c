from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mftscreen.finetune.strategies import Plan


def test_the_descriptor_is_taken_over(configure: Callable[..., Any]) -> None:
    ft = configure("ft")
    assert ft.plan == Plan(
        properties=ft.properties,
        data=ft.data,
        training=ft.training,
        pretrained="backbone.pt",
        transfers=True,
    )
