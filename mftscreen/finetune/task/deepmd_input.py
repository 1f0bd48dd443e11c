"""From a configuration to deepmd-kit's training input: pure functions.

Default prefactors, schedules and batch rules are those of Table 8 of
arXiv:2601.08486.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.blocks import ForceFieldLoss, TrainingConfig
from mftscreen.finetune.config.property_config import PropertyConfig
from mftscreen.finetune.strategies import Plan, TuneConfig
from mftscreen.head_forms import STANDARD
from mftscreen.model.backbones import find_architecture
from mftscreen.model.backbones.seam import Architecture
from mftscreen.transforms import Transform

__all__ = ["PreparedData", "Pretrained", "build_deepmd_input"]

EVERY_BATCH = 2**31
"""For statistics of the labels, where deepmd-kit by default looks at ten batches."""
_OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "adam": {"type": "Adam"},
    "muon": {
        "type": "HybridMuon",
        "weight_decay": 0.001,
        "magma_muon": True,
        # kernels that would be compiled when a training begins
        "enable_gram": False,
        "flash_muon": False,
    },
}


@dataclass(frozen=True)
class PreparedData:
    """deepmd/npy systems of one head.

    Attributes
    ----------
    train, validation : sequence of Path
    element_bias : sequence of float or of list of float, optional
        p(Z) of Eq. 17 by type, for one or several numbers.
    transform : Transform, optional
        What makes probabilities of outputs; needed for a class.
    """

    train: Sequence[Path]
    validation: Sequence[Path]
    element_bias: Sequence[float] | Sequence[Sequence[float]] | None = None
    transform: Transform | None = None


@dataclass(frozen=True)
class Pretrained:
    """What a training input takes over from a pretrained checkpoint.

    Attributes
    ----------
    type_map : sequence of str
    descriptor : mapping
        deepmd's descriptor parameters.
    fitting : mapping of str to mapping
        Fitting-net parameters by head name.
    info : mapping
        What the checkpoint says of its origin, for what is made of it.
    """

    type_map: Sequence[str]
    descriptor: Mapping[str, Any]
    fitting: Mapping[str, Mapping[str, Any]]
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim_case_embd(self) -> int:
        """Length of the data-set one-hot (c_m of Eq. 1) that its heads were given."""
        return max(
            (int(f.get("dim_case_embd", 0)) for f in self.fitting.values()), default=0
        )


def build_deepmd_input(
    config: TuneConfig,
    data: Mapping[str, PreparedData],
    type_map: Sequence[str],
    neighbors: tuple[int, int],
    pretrained: Pretrained | None = None,
) -> dict[str, Any]:
    """Return the ``input.json`` of a training run.

    Parameters
    ----------
    config : TuneConfig
    data : mapping of str to PreparedData
        By head name: properties and force fields.
    type_map : sequence of str
        Chemical symbols; ignored when there is a pretrained model.
    neighbors : tuple of int
        Most neighbours within the edge and within the angle cutoff in all of `data`:
        deepmd's padding, which does not enter the numbers.
    pretrained : Pretrained, optional
        Required if that is where the descriptor comes from.

    Returns
    -------
    dict
        Ready to be written as JSON.

    Raises
    ------
    ConfigError
        If heads of properties are to be taken over, and have another form.

    Examples
    --------
    >>> from mftscreen.finetune.strategies import ScratchConfig
    >>> config = ScratchConfig.model_validate({
    ...     "strategy": "scratch", "name": "m",
    ...     "properties": {"gap": {"label": "band gap", "unit": "eV"}},
    ...     "data": {"train": ["t.extxyz"]}, "training": {"steps": 100}})
    >>> data = {"gap": PreparedData(["a"], ["b"])}
    >>> document = build_deepmd_input(config, data, ["H"], (10, 5))
    >>> document["model"]["shared_dict"]["type_map"]
    ['H']
    """
    plan, training = config.plan, config.plan.training
    assert training is not None
    if pretrained is None:
        assert plan.descriptor is not None
        descriptor = plan.descriptor.parameters(neighbors, training.seed)
        architecture = find_architecture(descriptor)
    else:
        type_map = pretrained.type_map
        architecture = find_architecture(pretrained.descriptor)
        descriptor = architecture.fit_parameters(pretrained.descriptor, neighbors)
        descriptor["trainable"] = not plan.freezes_descriptor
        if not plan.transfers:
            n_heads = len(plan.force_fields) + len(plan.properties)
            pretrained = _with_one_hot_for(n_heads, pretrained)
    if not plan.transfers:
        descriptor["seed"] = training.seed
    shared, heads = _force_field_heads(plan, pretrained, training.seed)
    heads |= _property_heads(plan, data, pretrained, training.seed)
    heads = {name: _with_model(head, architecture) for name, head in heads.items()}
    if pretrained is not None and pretrained.info:
        heads = {
            name: {**h, "info": dict(pretrained.info)} for name, h in heads.items()
        }
    if plan.transfers_properties or not plan.transfers:
        # weights of every head are taken over, or of none
        heads = {name: _without(head, "finetune_head") for name, head in heads.items()}
    losses, batches = {}, {}
    for name, force_field in plan.force_fields.items():
        losses[name] = _force_field_loss(force_field.loss, force_field.weight)
        batches[name] = force_field.batch_size
    for name, settings in plan.properties.items():
        losses[name] = _property_loss(name, settings, data[name])
        batches[name] = training.batch_size
    shares = _shares(plan, data)
    return _multi_task(
        type_map, descriptor, shared, heads, losses, data, batches, shares, training
    )


def _with_one_hot_for(n_heads: int, pretrained: Pretrained) -> Pretrained:
    """Return a model whose one-hot, if it has one, is long enough for so many heads.

    Heads that start from random weights have a place each, which deepmd-kit gives them;
    those that are taken over share what the pretrained ones have.
    """
    if not 0 < pretrained.dim_case_embd < n_heads:
        return pretrained
    fitting = {
        name: {**net, "dim_case_embd": n_heads}
        for name, net in pretrained.fitting.items()
    }
    return replace(pretrained, fitting=fitting)


def _shares(plan: Plan, data: Mapping[str, PreparedData]) -> dict[str, float]:
    """Return the probability of each head to be that of a step.

    Of properties with the same data it is the first, whose steps train them all.
    """
    counts: Counter[str] = Counter()
    first: dict[tuple[Path, ...], str] = {}
    for name in plan.properties:
        counts[first.setdefault(tuple(data[name].train), name)] += 1
    heads = list(plan.properties)
    shares = {name: f.share for name, f in plan.force_fields.items()}
    if not shares:
        return {name: counts[name] / len(heads) for name in heads}
    if plan.joins:
        # the trainer adds all other heads to every step of the first
        return {**shares, **dict.fromkeys(heads, 0.0), heads[0]: 1.0}
    if heads:
        share = (1.0 - sum(shares.values())) / len(heads)
        shares |= {name: share * counts[name] for name in heads}
    return shares


def _force_field_heads(
    plan: Plan, pretrained: Pretrained | None, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what force fields share with each other, and their heads."""
    names = list(plan.force_fields)
    if not names:
        return {}, {}
    if pretrained is not None:
        source = {name: plan.force_fields[name].source or name for name in names}
        return {}, {
            name: {
                "fitting_net": {**pretrained.fitting[source[name]], "seed": seed},
                "finetune_head": source[name] if plan.transfers_head else "RANDOM",
            }
            for name in names
        }
    assert plan.descriptor is not None
    # one fitting net for all data sets, told which one by a one-hot (Eq. 1)
    fitting = {**plan.descriptor.energy_net(seed), "dim_case_embd": len(names)}
    return {"fitting": fitting}, {name: {"fitting_net": "fitting"} for name in names}


def _property_heads(
    plan: Plan,
    data: Mapping[str, PreparedData],
    pretrained: Pretrained | None,
    seed: int,
) -> dict[str, Any]:
    """Return the heads of the properties; raise if they cannot be taken over."""
    dim_case_embd = 0
    if plan.force_fields and pretrained is not None:
        # deepmd-kit wants one length of the one-hot for all heads
        dim_case_embd = pretrained.dim_case_embd
    heads = {}
    for name, settings in plan.properties.items():
        heads[name] = {
            **_property_head(name, settings, dim_case_embd, seed),
            "finetune_head": "RANDOM",
        }
        bias = data[name].element_bias
        if bias is not None and not plan.transfers_properties:
            heads[name]["preset_out_bias"] = {name: list(bias)}
    if plan.transfers_properties:
        assert pretrained is not None
        _check_forms({n: head["fitting_net"] for n, head in heads.items()}, pretrained)
    return heads


def _with_model(head: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    """Return a head with the type of its model, where that is not deepmd-kit's own."""
    model = architecture.models[0]
    return {**({} if model == STANDARD else {"type": model}), **head}


def _multi_task(
    type_map: Sequence[str],
    descriptor: Mapping[str, Any],
    shared: Mapping[str, Any],
    heads: Mapping[str, Mapping[str, Any]],
    losses: Mapping[str, Any],
    data: Mapping[str, PreparedData],
    batches: Mapping[str, int],
    shares: Mapping[str, float],
    training: TrainingConfig,
) -> dict[str, Any]:
    common = {"type_map": "type_map", "descriptor": "descriptor"}
    return {
        "model": {
            "shared_dict": {
                "type_map": list(type_map),
                "descriptor": descriptor,
                **shared,
            },
            "model_dict": {name: {**common, **head} for name, head in heads.items()},
        },
        "loss_dict": dict(losses),
        **_schedule(training),
        "training": {
            "model_prob": dict(shares),
            "data_dict": {
                name: _data_entry(data[name], batches[name]) for name in heads
            },
            **_training_entry(training),
        },
    }


def _property_head(
    name: str, settings: PropertyConfig, dim_case_embd: int, seed: int
) -> dict[str, Any]:
    form = settings.form
    fitting = {
        "type": form.fitting,
        "property_name": name,
        "task_dim": settings.n_components,
        "intensive": form.intensive,
        "distinguish_types": settings.has_element_bias,
        "neuron": list(settings.neurons),
        "resnet_dt": True,
        "activation_function": "tanh",
        "precision": "float32",
        "dim_case_embd": dim_case_embd,
        "seed": seed,
    }
    head: dict[str, Any] = {"data_stat_nbatch": EVERY_BATCH, "fitting_net": fitting}
    if not form.atomic:
        head["type"] = form.model
    return head


def _check_forms(ours: Mapping[str, Any], pretrained: Pretrained) -> None:
    """Raise if heads are not of the form that those of the pretrained model have."""
    settings = {
        "type": "head", "intensive": "head", "neuron": "neurons",
        "distinguish_types": "bias", "dim_case_embd": "pretrained",
        "task_dim": "components",
    }  # fmt: skip
    if problems := [
        f"properties.{name}.{settings.get(key, key)}: the head that "
        f"transfer_properties takes over has {key} {theirs.get(key)}, not {value}"
        for name, fitting in ours.items()
        for theirs in [{"task_dim": 1, **pretrained.fitting[name]}]
        for key, value in fitting.items()
        if key != "seed" and theirs.get(key) != value
    ]:
        raise ConfigError(problems)


def _without(mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def _property_loss(
    name: str, settings: PropertyConfig, data: PreparedData
) -> dict[str, Any]:
    if settings.kind == "class":
        made = data.transform
        assert made is not None
        return {
            "type": "yes_no", "var_name": name, "scale": made.std, "shift": made.mean,
        }  # fmt: skip
    return {
        "type": "property",
        "loss_func": settings.loss,
        "metric": ["mae", "rmse"],
        "beta": 1.0,
    }


def _force_field_loss(loss: ForceFieldLoss, weight: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "ener", "loss_func": loss.kind}
    if loss.kind == "mae":
        entry["f_use_norm"] = True
    pairs = {"e": loss.energy, "f": loss.force, "v": loss.virial}
    for letter, (start, limit) in pairs.items():
        entry[f"start_pref_{letter}"] = start * weight
        entry[f"limit_pref_{letter}"] = limit * weight
    return entry


def _schedule(training: TrainingConfig) -> dict[str, Any]:
    start, stop = training.learning_rate
    return {
        "learning_rate": {
            "type": "exp",
            "start_lr": start,
            "stop_lr": stop,
            # the paper decays every 1000 of 100,000 steps
            "decay_steps": min(1000, max(1, training.steps // 100)),
        },
        "optimizer": dict(_OPTIMIZERS[training.optimizer]),
    }


def _data_entry(data: PreparedData, batch_size: int) -> dict[str, Any]:
    return {
        "training_data": {
            "systems": [str(path) for path in data.train],
            "batch_size": f"auto:{batch_size}",
        },
        "validation_data": {
            "systems": [str(path) for path in data.validation],
            "batch_size": f"auto:{batch_size}",
        },
    }


def _training_entry(training: TrainingConfig) -> dict[str, Any]:
    return {
        "numb_steps": training.steps,
        "gradient_max_norm": training.gradient_max_norm,
        "seed": training.seed,
        "save_freq": training.save_every,
        # which ones are kept is decided by their validation
        "max_ckpt_keep": -(-training.steps // training.save_every) + 1,
        "save_ckpt": "model.ckpt",
        "disp_file": "lcurve.out",
        "disp_freq": max(1, min(100, training.steps // 20)),
        **({"enable_ema": True, "ema_decay": training.ema} if training.ema else {}),
    }
