"""``strategy: auto``."""

from __future__ import annotations

from typing import ClassVar, Literal

from mftscreen.finetune.strategies.mft import Multitask

__all__ = ["AutoConfig"]


class AutoConfig(Multitask):
    """What ``mft`` is told; the strategy is chosen by a comparison.

    ``mftscreen finetune`` compares all strategies on the split of `data`, then trains
    one on all rows: that of the least OOD error, or kernel or mft, which leave a force
    field in the model, where these are level with it (within one standard error of the
    differences fold by fold).
    """

    compares_first: ClassVar[bool] = True
    strategy: Literal["auto"]
    """Which strategy the configuration is of."""
