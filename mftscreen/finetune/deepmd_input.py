"""From a configuration to deepmd-kit's training input: pure functions.

Default prefactors, schedules and batch rules are those of Table 8 of
arXiv:2601.08486.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mftscreen.finetune.config import (
    DescriptorConfig,
    ForceFieldLoss,
    LPConfig,
    MFTConfig,
    PretrainConfig,
    ScratchConfig,
    TrainingConfig,
    TuneConfig,
)
from mftscreen.properties import PropertySpec

__all__ = ["PreparedData", "Pretrained", "build_deepmd_input"]

SILUT = "silut:3.0"
FITTING_NEURONS = [128, 128, 128]


@dataclass(frozen=True)
class PreparedData:
    """deepmd/npy systems of one head.

    Attributes
    ----------
    train, validation : sequence of Path
    """

    train: Sequence[Path]
    validation: Sequence[Path]


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
    """

    type_map: Sequence[str]
    descriptor: Mapping[str, Any]
    fitting: Mapping[str, Mapping[str, Any]]

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
    config : ScratchConfig, FTConfig, LPConfig, MFTConfig or PretrainConfig
    data : mapping of str to PreparedData
        By head name: the property's name, the auxiliary head or the branches.
    type_map : sequence of str
        Chemical symbols; ignored when there is a pretrained model.
    neighbors : tuple of int
        Most neighbours within the edge and within the angle cutoff in all of `data`:
        deepmd's padding, which does not enter the numbers.
    pretrained : Pretrained, optional
        Required by every strategy but ``scratch`` and ``pretrain``.

    Returns
    -------
    dict
        Ready to be written as JSON.

    Examples
    --------
    >>> from mftscreen.finetune.config import _ADAPTER
    >>> config = _ADAPTER.validate_python({
    ...     "strategy": "scratch", "name": "m",
    ...     "property": {"name": "gap", "label": "band gap", "unit": "eV"},
    ...     "data": {"train": ["t.extxyz"], "column": "gap"},
    ...     "training": {"steps": 100}})
    >>> data = {"gap": PreparedData(["a"], ["b"])}
    >>> build_deepmd_input(config, data, ["H"], (10, 5))["model"]["type_map"]
    ['H']
    """
    seed = config.training.seed
    if isinstance(config, PretrainConfig):
        return _pretraining_input(config, data, type_map, neighbors)
    if isinstance(config, ScratchConfig):
        descriptor = _new_descriptor(config.descriptor, neighbors, seed)
    else:
        assert pretrained is not None
        type_map = pretrained.type_map
        descriptor = _fit_budget(pretrained.descriptor, neighbors)
        descriptor["trainable"] = not isinstance(config, LPConfig)
    # deepmd-kit wants one length of the one-hot for all heads of a multi-task model
    dim_case_embd = 0
    if isinstance(config, MFTConfig) and pretrained is not None:
        dim_case_embd = pretrained.dim_case_embd
    head = config.property.name
    model = {
        "fitting_net": _property_fitting(
            config.property, config.distinguish_types, dim_case_embd, seed
        )
    }
    loss = _property_loss(config.loss.kind)
    training = config.training
    if isinstance(config, MFTConfig):
        assert pretrained is not None
        aux = config.auxiliary
        fitting = {**pretrained.fitting[aux.head], "seed": seed}
        heads = {
            aux.head: {"fitting_net": fitting, "finetune_head": aux.head},
            head: {**model, "finetune_head": "RANDOM"},
        }
        losses = {
            aux.head: _force_field_loss(aux.loss, aux.lambda_reg),
            head: loss,
        }
        batches = {aux.head: aux.batch_size, head: training.batch_size}
        shares = {aux.head: aux.aux_prob, head: 1.0 - aux.aux_prob}
        return _multi_task(
            type_map, descriptor, {}, heads, losses, data, batches, shares, training
        )
    return {
        "model": {"type_map": list(type_map), "descriptor": descriptor, **model},
        "loss": loss,
        **_schedule(training),
        "training": {
            **_data_entry(data[head], training.batch_size),
            **_training_entry(training),
        },
    }


def _pretraining_input(
    config: PretrainConfig,
    data: Mapping[str, PreparedData],
    type_map: Sequence[str],
    neighbors: tuple[int, int],
) -> dict[str, Any]:
    seed, names = config.training.seed, list(config.branches)
    # one fitting net for all data sets, told which one by a one-hot (Eq. 1)
    shared = {
        "fitting": {
            "type": "ener",
            "neuron": FITTING_NEURONS,
            "resnet_dt": True,
            "activation_function": SILUT,
            "precision": "float32",
            "dim_case_embd": len(names),
            "seed": seed,
        }
    }
    total = sum(config.probabilities.get(name, 1.0) for name in names)
    return _multi_task(
        type_map,
        _new_descriptor(config.descriptor, neighbors, seed),
        shared,
        {name: {"fitting_net": "fitting"} for name in names},
        {name: _force_field_loss(config.loss, 1.0) for name in names},
        data,
        dict.fromkeys(names, config.training.batch_size),
        {name: config.probabilities.get(name, 1.0) / total for name in names},
        config.training,
    )


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


def _new_descriptor(
    size: DescriptorConfig, neighbors: tuple[int, int], seed: int
) -> dict[str, Any]:
    # deepmd divides sums over edges by e_sel / sel_reduce_factor and those over
    # angles by a_sel / sel_reduce_factor: choose e_sel and a_sel in the ratio of the
    # two scales, large enough for the data
    factor = max(neighbors[0] / size.edge_scale, neighbors[1] / size.angle_scale, 1.0)
    factor = float(-(-factor // 1))
    return {
        "type": "dpa3",
        "repflow": {
            "n_dim": size.n_dim,
            "e_dim": size.e_dim,
            "a_dim": size.a_dim,
            "nlayers": size.n_layers,
            "e_rcut": size.edge_cutoff,
            "e_rcut_smth": round(size.edge_cutoff - 0.7, 6),
            "e_sel": round(size.edge_scale * factor),
            "a_rcut": size.angle_cutoff,
            "a_rcut_smth": round(size.angle_cutoff - 0.5, 6),
            "a_sel": round(size.angle_scale * factor),
            "sel_reduce_factor": factor,
            "axis_neuron": 4,
            "fix_stat_std": 0.3,
            "a_compress_rate": 1,
            "a_compress_e_rate": 2,
            "a_compress_use_split": True,
            "update_angle": True,
            "smooth_edge_update": True,
            "edge_init_use_dist": True,
            "use_exp_switch": True,
            "update_style": "res_residual",
            "update_residual": size.update_residual,
            "update_residual_init": "const",
            "use_dynamic_sel": True,
        },
        "activation_function": SILUT,
        "use_tebd_bias": False,
        "precision": "float32",
        "concat_output_tebd": False,
        "seed": seed,
    }


def _fit_budget(
    descriptor: Mapping[str, Any], neighbors: tuple[int, int]
) -> dict[str, Any]:
    """Return the descriptor with padding for the data at hand.

    With ``use_dynamic_sel`` only the ratios of ``e_sel`` and ``a_sel`` to
    ``sel_reduce_factor`` enter the numbers, so all three can shrink or grow together.
    """
    resized: dict[str, Any] = copy.deepcopy(dict(descriptor))
    repflow = resized.get("repflow", {})
    if not repflow.get("use_dynamic_sel", False):
        return resized
    edge, angle = int(repflow["e_sel"]), int(repflow["a_sel"])
    factor = max(neighbors[0] / edge, neighbors[1] / angle)
    reduced = float(repflow["sel_reduce_factor"])
    # the smallest whole numbers that are large enough and in the exact ratio
    divisor = math.gcd(edge, angle)
    steps = max(1, math.ceil(factor * divisor))
    repflow["e_sel"] = edge // divisor * steps
    repflow["a_sel"] = angle // divisor * steps
    repflow["sel_reduce_factor"] = reduced * steps / divisor
    return resized


def _property_fitting(
    spec: PropertySpec, distinguish_types: bool, dim_case_embd: int, seed: int
) -> dict[str, Any]:
    return {
        "type": "property",
        "property_name": spec.name,
        "task_dim": 1,
        "intensive": spec.intensive,
        "distinguish_types": distinguish_types,
        "neuron": FITTING_NEURONS,
        "resnet_dt": True,
        "activation_function": "tanh",
        "precision": "float32",
        "dim_case_embd": dim_case_embd,
        "seed": seed,
    }


def _property_loss(kind: str) -> dict[str, Any]:
    return {
        "type": "property",
        "loss_func": kind,
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
            "decay_steps": max(1, training.steps // 100),
        },
        "optimizer": {"type": "Adam"},
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
        # the best of all is chosen when training has ended
        "max_ckpt_keep": -(-training.steps // training.save_every) + 1,
        "save_ckpt": "model.ckpt",
        "disp_file": "lcurve.out",
        "disp_freq": max(1, min(100, training.steps // 20)),
    }
