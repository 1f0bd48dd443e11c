"""The same task by another strategy: configurations derived from an MFT one."""

from __future__ import annotations

from typing import Any, cast

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.blocks import TrainingConfig
from mftscreen.finetune.strategies import (
    COMPARABLE,
    DownstreamConfig,
    MFTConfig,
    TuneConfig,
)
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.backbones import find_architecture
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.suggestions import did_you_mean

__all__ = ["derive_config"]


def derive_config(
    config: TuneConfig, strategy: str, *, progress: bool = False
) -> DownstreamConfig:
    """Return the configuration of another strategy for a fair comparison.

    Parameters
    ----------
    config : MFTConfig or AutoConfig
        It has all that the other strategies need.
    strategy : str
        One of :data:`mftscreen.finetune.strategies.COMPARABLE`.
    progress : bool, default False
        Whether a download of the pretrained model, whose size ``scratch`` has, shows
        its progress on stderr.

    Returns
    -------
    DownstreamConfig
        With the settings that both strategies know. ``scratch`` gets the size of the
        pretrained descriptor and its type map. Every strategy takes as many steps on
        the property: where MFT alternates between the tasks, the others take a share
        1 - ``aux_prob`` of its steps, and save as many checkpoints to choose from.

    Raises
    ------
    ConfigError
        If `config` is of another strategy, or takes over heads of properties; or if
        there is no such strategy.
    ModelError
        If ``scratch`` is asked for and the pretrained descriptor cannot be read.
    UnsupportedByBackboneError
        If ``scratch`` is asked for and no descriptors of the pretrained one's kind are
        made from nothing.

    Notes
    -----
    The rule gives the training lengths of Table 8 of arXiv:2601.08486: 0.2 M steps of
    MFT with ``aux_prob`` 0.5 beside 0.1 M of the others on MatBench. On QM9, where all
    take 0.1 M, MFT runs on two GPUs, and so takes twice the batches in as many steps.
    """
    if strategy not in COMPARABLE:
        problem = f"strategy: {strategy!r} is not one of {', '.join(COMPARABLE)}"
        problem += did_you_mean(strategy, known=COMPARABLE)
        raise ConfigError([problem])
    mft = cast("MFTConfig | None", config.as_mft)
    if mft is None:
        problem = (
            f"strategy: other strategies are derived from mft, not from "
            f"{config.strategy}: only it has all settings"
        )
        raise ConfigError([problem])
    if strategy == mft.strategy:
        return mft
    if mft.transfer_properties:
        problem = (
            "transfer_properties: only mft takes over heads of properties; other "
            "strategies start with random ones"
        )
        raise ConfigError([problem])
    target: Any = COMPARABLE[strategy]
    shared = set(target.model_fields) & set(MFTConfig.model_fields)
    values: dict[str, Any] = {name: getattr(mft, name) for name in shared}
    values["strategy"] = strategy
    values["name"] = f"{mft.name}-{strategy}"
    if "training" in shared:
        values["training"] = _as_many_property_steps(mft)
    else:
        values["seed"] = mft.training.seed
        main = next(iter(mft.auxiliaries.values()))
        values["energy_head"] = main.head if mft.transfer_head else None
    if "pretrained" not in shared:
        state, _ = load_pretrained(mft.pretrained, progress=progress)
        pretrained = next(iter(model_parameters(state).values()))
        descriptor = pretrained["descriptor"]
        values["descriptor"] = find_architecture(descriptor).size(descriptor)
        values["elements"] = list(pretrained["type_map"])
        # nothing below is pretrained that would have to be kept
        values["training"] = values["training"].model_copy(update={"layer_decay": 1.0})
    derived: DownstreamConfig = target(**values)
    return derived


def _as_many_property_steps(config: MFTConfig) -> TrainingConfig:
    training, share = config.training, config.downstream_share
    return training.model_copy(
        update={
            "steps": max(1, round(training.steps * share)),
            "save_every": max(1, round(training.save_every * share)),
        }
    )
