"""Strategies: a module each, with its settings and what a training by them does.

A new one is a module beside these and its line in :data:`DownstreamConfig`, the order
of which is that of lists for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Field

from mftscreen.finetune.strategies.auto import AutoConfig
from mftscreen.finetune.strategies.ft import FTConfig
from mftscreen.finetune.strategies.kernel import KernelConfig
from mftscreen.finetune.strategies.lp import LPConfig
from mftscreen.finetune.strategies.mft import MFTConfig
from mftscreen.finetune.strategies.plan import Plan, Strategy
from mftscreen.finetune.strategies.pretrain import PretrainConfig
from mftscreen.finetune.strategies.scratch import ScratchConfig

__all__ = [
    "COMPARABLE",
    "STRATEGIES",
    "AutoConfig",
    "DownstreamConfig",
    "FTConfig",
    "KernelConfig",
    "LPConfig",
    "MFTConfig",
    "Plan",
    "PretrainConfig",
    "ScratchConfig",
    "TuneConfig",
]

DownstreamConfig = ScratchConfig | KernelConfig | FTConfig | LPConfig | MFTConfig
"""What trains on properties, and can be compared."""

TuneConfig = Annotated[
    DownstreamConfig | AutoConfig | PretrainConfig, Field(discriminator="strategy")
]


def _by_name(union: Any) -> dict[str, Any]:
    return {
        get_args(config.model_fields["strategy"].annotation)[0]: config
        for config in get_args(union)
    }


COMPARABLE: Mapping[str, type[DownstreamConfig]] = _by_name(DownstreamConfig)
STRATEGIES: Mapping[str, type[Strategy]] = _by_name(get_args(TuneConfig)[0])
"""By the name that a configuration gives, in this order."""
