"""``strategy: auto``."""

from __future__ import annotations

from typing import ClassVar, Literal

from mftscreen.finetune.strategies.mft import Multitask

__all__ = ["AutoConfig"]


class AutoConfig(Multitask):
    """What ``mft`` is told; the strategy is the one with the least OOD error.

    ``mftscreen finetune`` compares all strategies on the split of `data`, then trains
    the best one on all rows.
    """

    compares_first: ClassVar[bool] = True
    strategy: Literal["auto"]
    """Which strategy the configuration is of."""
