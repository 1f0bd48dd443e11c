"""``strategy: lp``."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mftscreen.finetune.strategies.downstream import FromPretrained
from mftscreen.finetune.strategies.plan import Plan

__all__ = ["LPConfig"]


class LPConfig(FromPretrained):
    """Pretrained descriptor, frozen; only the random head is updated (Eq. 8)."""

    strategy: Literal["lp"]
    """Which strategy the configuration is of."""

    @property
    def plan(self) -> Plan:
        """Train random heads on the descriptor as it is."""
        return replace(super().plan, freezes_descriptor=True)
