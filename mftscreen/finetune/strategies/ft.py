"""``strategy: ft``."""

from __future__ import annotations

from typing import Literal

from mftscreen.finetune.strategies.downstream import FromPretrained

__all__ = ["FTConfig"]


class FTConfig(FromPretrained):
    """Pretrained descriptor, random head, all weights updated (Eq. 9)."""

    strategy: Literal["ft"]
    """Which strategy the configuration is of."""
