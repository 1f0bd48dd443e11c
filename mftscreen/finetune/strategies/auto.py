"""``strategy: auto``."""

from __future__ import annotations

from typing import ClassVar, Literal

from mftscreen.finetune.strategies.mft import MFTConfig, Multitask

__all__ = ["AutoConfig"]


class AutoConfig(Multitask):
    """What :class:`MFTConfig` says; the strategy is the one with the least OOD error.

    ``mftscreen finetune`` compares all strategies on the split of `data`, then trains
    the best one on all rows.
    """

    compares_first: ClassVar[bool] = True
    strategy: Literal["auto"]

    @property
    def as_mft(self) -> MFTConfig:
        """The same settings for MFT, from which those of the others are derived."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return MFTConfig(**{**values, "strategy": "mft"})
