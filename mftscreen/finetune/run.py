"""One training run, from a configuration to a ``.mft`` model file.

A run directory holds everything: the resolved configuration, deepmd-kit's data, input,
log and checkpoints, and in the end ``model.mft``.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from mftscreen.errors import ConfigError, DataError, ModelError, TrainingError
from mftscreen.finetune.card import property_head, sample, write_model
from mftscreen.finetune.config import (
    MFTConfig,
    PretrainConfig,
    ScratchConfig,
    TuneConfig,
)
from mftscreen.finetune.dataset import ENERGY_LABELS, write_deepmd_npy
from mftscreen.finetune.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)
from mftscreen.finetune.evaluate import evaluate_force_field, evaluate_property
from mftscreen.finetune.launch import INPUT, LOG, checkpoints, train
from mftscreen.finetune.task import Task, load_task
from mftscreen.model.backend import DeepmdNetwork
from mftscreen.model.checkpoint import (
    model_parameters,
    read_state,
    resize_neighbor_budget,
    save_state,
)
from mftscreen.structures import find_neighbors

__all__ = ["run_training"]

CONFIG, DATA_HASH, VALIDATION = "config.yaml", "data.sha256", "validation.json"
PRETRAINED, MODEL = "pretrained.pt", "model.mft"

log = logging.getLogger(__name__)
Curve = dict[str, dict[str, float]]


def run_training(
    config: TuneConfig,
    directory: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    progress: bool = False,
) -> Path:
    """Train a model and write it as ``model.mft``.

    Parameters
    ----------
    config : ScratchConfig, FTConfig, LPConfig, MFTConfig or PretrainConfig
    directory : Path
        Where everything is written.
    resume : bool
        Continue the run in `directory` from its last checkpoint.
    threads : int, optional
        Threads of the training process; all cores by default.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    ConfigError
        If `directory` holds a run and `resume` is false, or the run had another
        configuration or other data.
    DataError
        If data cannot be used; the row is named.
    ModelError
        If the pretrained model lacks a head or an element that is needed.
    TrainingError
        See :func:`mftscreen.finetune.launch.train`.
    """
    started = _check_directory(config, directory, resume)
    task = load_task(config)
    if not started:
        _prepare(config, task, directory)
    elif (directory / DATA_HASH).read_text() != task.data_hash:
        problem = (
            f"the data have changed since {directory} was started; start another run "
            "with --output"
        )
        raise ConfigError([problem])
    train(
        directory,
        config.training.steps,
        pretrained=PRETRAINED if task.state is not None else None,
        random_head=not isinstance(config, MFTConfig),
        threads=threads,
        progress=progress,
    )
    step, curve = _best_checkpoint(config, task, directory)
    path = directory / MODEL
    checkpoint = save_state(read_state(checkpoints(directory)[step]))
    training = {"step": step, "validation": curve[str(step)]}
    write_model(path, config, task, checkpoint, training)
    return path


def _check_directory(config: TuneConfig, directory: Path, resume: bool) -> bool:
    """Return whether the directory holds this run already; raise if it may not."""
    if not (directory / INPUT).exists():
        return False
    if not resume:
        problem = (
            f"{directory} already holds a run; continue it with --resume or choose "
            "another directory with --output"
        )
        raise ConfigError([problem])
    if (directory / CONFIG).read_text(encoding="utf-8") != _as_yaml(config):
        problem = (
            f"{directory / CONFIG} differs from the configuration given; a run is "
            "resumed with the configuration it was started with"
        )
        raise ConfigError([problem])
    return True


def _as_yaml(config: TuneConfig) -> str:
    document = json.loads(config.model_dump_json())
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _prepare(config: TuneConfig, task: Task, directory: Path) -> None:
    """Write data, pretrained checkpoint and, last, the training input."""
    pretrained, cutoffs = _starting_point(config, task)
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / CONFIG, _as_yaml(config))
    _replace(directory / DATA_HASH, task.data_hash)
    data = {}
    for head, split in task.heads.items():
        labels = _label_names(head, config)
        written = {
            part: write_deepmd_npy(
                split[part], directory / "data" / head / part, task.type_map, labels
            )
            for part in ("train", "validation")
        }
        data[head] = PreparedData(
            *(
                [path.relative_to(directory) for path in written[part]]
                for part in ("train", "validation")
            )
        )
    neighbors = _most_neighbors(task, cutoffs)
    document = build_deepmd_input(config, data, task.type_map, neighbors, pretrained)
    if task.state is not None:
        model = document["model"]
        descriptor = model.get("shared_dict", model)["descriptor"]
        state = dict(task.state)
        if "repflow" in descriptor:
            state = resize_neighbor_budget(state, descriptor)
        (directory / PRETRAINED).write_bytes(save_state(state))
    # the presence of this file says that everything else is there
    _replace(directory / INPUT, json.dumps(document, indent=1))


def _starting_point(
    config: TuneConfig, task: Task
) -> tuple[Pretrained | None, tuple[float, float]]:
    """Return what is pretrained, if anything, and the edge and angle cutoffs (Å)."""
    if task.state is None:
        assert isinstance(config, ScratchConfig | PretrainConfig)
        size = config.descriptor
        return None, (size.edge_cutoff, size.angle_cutoff)
    parameters = model_parameters(task.state)
    if isinstance(config, MFTConfig) and config.auxiliary.head not in parameters:
        msg = (
            f"the pretrained model has no head {config.auxiliary.head!r}; "
            f"its heads: {', '.join(parameters)}"
        )
        raise ModelError(msg)
    descriptor = next(iter(parameters.values()))["descriptor"]
    fitting = {name: p["fitting_net"] for name, p in parameters.items()}
    repflow = descriptor.get("repflow", {})
    cutoffs = (repflow.get("e_rcut", 6.0), repflow.get("a_rcut", 4.0))
    return Pretrained(task.type_map, descriptor, fitting), cutoffs


def _label_names(head: str, config: TuneConfig) -> Sequence[str]:
    if isinstance(config, PretrainConfig) or head != config.property.name:
        return ENERGY_LABELS
    return (head,)


def _most_neighbors(task: Task, cutoffs: tuple[float, float]) -> tuple[int, int]:
    """Return the most neighbours of any atom within the two cutoffs."""
    most = np.ones(2, dtype=int)
    for split in task.heads.values():
        for part in ("train", "validation"):
            for item in split[part]:
                centers, _, _, distances = find_neighbors(item.atoms, cutoffs[0])
                for k, cutoff in enumerate(cutoffs):
                    counts = np.bincount(centers[distances < cutoff], minlength=1)
                    most[k] = max(most[k], int(counts.max()))
    return int(most[0]), int(most[1])


def _best_checkpoint(
    config: TuneConfig, task: Task, directory: Path
) -> tuple[int, Curve]:
    """Return the step of the best checkpoint and the validation errors of all."""
    cache = directory / VALIDATION
    curve: Curve = json.loads(cache.read_text()) if cache.exists() else {}
    for step, path in checkpoints(directory).items():
        if str(step) not in curve:
            network = DeepmdNetwork.from_checkpoint(path)
            curve[str(step)] = _validate(config, task, network)
            _replace(cache, json.dumps(curve, indent=1))
    key = "force_mae" if isinstance(config, PretrainConfig) else "mae"
    errors = {int(step): metrics[key] for step, metrics in curve.items()}
    finite = {step: error for step, error in errors.items() if math.isfinite(error)}
    if not finite:
        msg = "no checkpoint has a finite validation error"
        raise TrainingError(msg, directory / LOG)
    best = min(finite, key=lambda step: finite[step])
    log.info("best checkpoint: step %d, validation %s", best, curve[str(best)])
    return best, curve


def _validate(
    config: TuneConfig, task: Task, network: DeepmdNetwork
) -> dict[str, float]:
    if isinstance(config, PretrainConfig):
        part = sample(task.heads[config.energy_head]["validation"])
        return evaluate_force_field(network, config.energy_head, part)
    name = config.property.name
    part = task.heads[name]["validation"]
    try:
        return evaluate_property(network, property_head(config), name, part)
    except DataError:  # a prediction is not finite: the run had diverged by then
        return {"mae": math.inf}
