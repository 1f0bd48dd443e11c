"""From a trained checkpoint to a model file: test errors, card, reference set."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mftscreen.finetune.config import (
    BranchConfig,
    MFTConfig,
    PretrainConfig,
    TuneConfig,
)
from mftscreen.finetune.dataset import LabelledStructure
from mftscreen.finetune.evaluate import evaluate_force_field, predict_property
from mftscreen.finetune.sources import read_force_field
from mftscreen.finetune.task import Split, Task, data_hash
from mftscreen.intervals import IntervalCalibration, judged_p_values
from mftscreen.metrics import regression_metrics
from mftscreen.model.backend import DeepmdNetwork
from mftscreen.model.bundle import ModelCard, PropertyHead, write_bundle
from mftscreen.structures import structure_hash

__all__ = ["property_head", "sample", "write_model"]

N_VALIDATED = 500
"""Force-field frames that checkpoints are compared on."""


def property_head(config: Any) -> str:
    """Return deepmd's name of the property head."""
    return str(config.property.name) if isinstance(config, MFTConfig) else "Default"


def sample(structures: Sequence[LabelledStructure]) -> list[LabelledStructure]:
    """Return at most ``N_VALIDATED`` structures, evenly spread."""
    return list(structures[:: math.ceil(len(structures) / N_VALIDATED)])


def write_model(
    path: Path,
    config: TuneConfig,
    task: Task,
    checkpoint: bytes,
    training: Mapping[str, Any],
) -> None:
    """Evaluate a checkpoint on validation and test sets and write a model file.

    Parameters
    ----------
    path : Path
    config : ScratchConfig, FTConfig, LPConfig, MFTConfig or PretrainConfig
    task : Task
    checkpoint : bytes
        Without optimizer state.
    training : mapping
        What to say about the training run on the card.
    """
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    properties, reference, calibration = {}, None, None
    if isinstance(config, PretrainConfig):
        energy_head: str | None = config.energy_head
        branches: Mapping[str, BranchConfig] = config.branches
    else:
        energy_head, branches = None, {}
        if isinstance(config, MFTConfig):
            energy_head = config.auxiliary.head
            branches = {energy_head: config.auxiliary}
        name = config.property.name
        split, head = task.heads[name], property_head(config)
        predicted = {
            part: predict_property(network, head, structures)
            for part, structures in split.items()
            if part != "train"
        }
        reference = _reference_set(split["train"])
        rows = _calibration_set(name, split, predicted["validation"], reference)
        calibration = rows.to_arrays(name)
        n_calibration = int(np.isfinite(rows.p_values).sum())
        properties[name] = _property_card(config, split, predicted, n_calibration)
    force_field = {
        head: _force_field_card(head, branch, task.heads[head], network)
        for head, branch in branches.items()
    }
    card = ModelCard(
        name=config.name,
        description=config.description,
        strategy=config.strategy,
        energy_head=energy_head,
        properties=properties,
        force_field=force_field,
        versions={
            package: importlib.metadata.version(package)
            for package in ("mftscreen", "deepmd-kit", "torch", "ase")
        },
        licence=config.licence,
        provenance={
            "config": _portable(config.model_dump()),
            "pretrained_sha256": task.pretrained_sha256,
            **training,
        },
    )
    write_bundle(path, card, checkpoint, reference, calibration)


def _portable(value: Any) -> Any:
    """Return settings as JSON can hold them, without this machine's folders."""
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str) and value.endswith((".mft", ".pt")):
        return Path(value).name
    return value


def _force_field_card(
    head: str, branch: BranchConfig, split: Split, network: DeepmdNetwork
) -> dict[str, Any]:
    tests = {}
    for name, path in branch.test.items():
        errors = evaluate_force_field(network, head, list(read_force_field(path)))
        # other calculations have another zero of energy
        tests[name] = {k: v for k, v in errors.items() if k != "energy_mae"}
    return {
        "training_set": branch.description,
        "n_train": len(split["train"]),
        "validation": evaluate_force_field(network, head, sample(split["validation"])),
        **tests,
    }


def _property_card(
    config: Any,
    split: Split,
    predicted: Mapping[str, NDArray[np.float64]],
    n_calibration: int,
) -> PropertyHead:
    name = config.property.name
    labels = _labels(split["train"], name)
    metrics = {}
    for test, values in predicted.items():
        target = _labels(split[test], name)
        errors = regression_metrics(values, target)
        errors["mae_of_training_mean"] = float(np.abs(target - labels.mean()).mean())
        # JSON has no NaN: R2 and Spearman of a single target
        metrics[test] = {k: v for k, v in errors.items() if math.isfinite(v)}
    symbols = {symbol for s in split["train"] for symbol in s.atoms.symbols}
    return PropertyHead(
        spec=config.property,
        head=property_head(config),
        elements=sorted(symbols, key=lambda symbol: atomic_numbers[symbol]),
        n_train=len(labels),
        train_range=(float(labels.min()), float(labels.max())),
        training_set=config.data.description
        or ", ".join(path.name for path in config.data.train),
        training_hash=data_hash(split["train"]),
        n_calibration=n_calibration,
        metrics=metrics,
    )


def _labels(structures: Sequence[LabelledStructure], name: str) -> NDArray[np.float64]:
    return np.array([float(s.labels[name]) for s in structures])


def _calibration_set(
    name: str,
    split: Split,
    predicted: NDArray[np.float64],
    reference: Mapping[str, NDArray[Any]],
) -> IntervalCalibration:
    """Return the residuals of the validation rows, without repeated training rows.

    They chose the checkpoint, so that it suits them slightly better than others.
    """
    from mftscreen.ood.judgement import judge
    from mftscreen.ood.reference import open_reference

    trained_on = {structure_hash(s.atoms) for s in split["train"]}
    new = [structure_hash(s.atoms) not in trained_on for s in split["validation"]]
    rows, values = list(compress(split["validation"], new)), predicted[new]
    symbols = {symbol for s in split["train"] for symbol in s.atoms.symbols}
    # p-values do not depend on alpha
    opened = open_reference(reference, alpha=0.05, elements=symbols)
    return IntervalCalibration(
        residuals=_labels(rows, name) - values,
        predictions=values,
        p_values=judged_p_values(judge((s.atoms for s in rows), opened)),
        ids=tuple(s.id for s in rows),
    )


def _reference_set(structures: Sequence[LabelledStructure]) -> dict[str, Any]:
    """Return the arrays of the OFM reference set of the training structures."""
    from mftscreen.ood.reference import build_reference

    return build_reference([s.atoms for s in structures], [s.id for s in structures])
