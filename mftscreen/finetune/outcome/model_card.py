"""From a trained checkpoint to a model file: test errors, card, reference set."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mftscreen.data.sources import read_force_field
from mftscreen.domain import HeadDomain
from mftscreen.finetune.config.blocks import BranchConfig
from mftscreen.finetune.kernel.property_fitter import PropertyFitter
from mftscreen.finetune.outcome.calibration import (
    build_reference_sets,
    measure_coverage,
)
from mftscreen.finetune.outcome.readouts import PropertyOutcome, read_out
from mftscreen.finetune.outcome.region import TrainedRegion, build_regions
from mftscreen.finetune.outcome.scores import evaluate_force_field, property_labels
from mftscreen.finetune.run.validation import sample
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import Parts, data_hash
from mftscreen.metrics import regression_metrics
from mftscreen.model.files.bundle import (
    ForceFieldDomain,
    ModelCard,
    PropertyHead,
    write_bundle,
)
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.ood.reference.reference_set import pack_references
from mftscreen.properties import PropertySpec
from mftscreen.trust.intervals import Scale
from mftscreen.trust.neighborhood import pack_neighborhoods

__all__ = ["write_model"]

N_TARGETS = 5000
"""Labels in a model file, for histograms: evenly spread quantiles, or all."""


def write_model(
    path: Path,
    task: Task,
    checkpoint: bytes,
    training: Mapping[str, Any],
    *,
    progress: bool = False,
) -> None:
    """Evaluate a checkpoint on validation and test sets and write a model file.

    Parameters
    ----------
    path : Path
    task : Task
    checkpoint : bytes
        Without optimizer state.
    training : mapping
        What to say about the training run on the card.
    progress : bool, default False
        Whether to show the progress of kernel read-outs on stderr.
    """
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    config, plan = task.config, task.config.plan
    fitter = PropertyFitter(task, network, progress=progress)
    properties = {}
    references = build_reference_sets(task)
    regions = build_regions(task, fitter.descriptors)
    scales: dict[TrainedRegion, dict[str, Scale]] = {}
    calibration: dict[str, NDArray[Any]] = {}
    readouts: dict[str, NDArray[Any]] = {}
    for name, spec in task.specs.items():
        split, reference = task.heads[name], references[name]
        outcome = read_out(task, name, network, reference, regions[name], fitter)
        scales.setdefault(regions[name], {})[name] = outcome.calibration.scale
        if outcome.kernel is not None:
            readouts |= outcome.kernel.to_arrays(name)
        calibration |= outcome.calibration.to_arrays(name)
        labels = property_labels(split["train"], name)
        levels = np.linspace(0, 1, min(len(labels), N_TARGETS))
        calibration[f"{name}/training_targets"] = np.quantile(
            labels, levels, method="nearest"
        ).astype(np.float32)
        properties[name] = _property_card(config, spec, split, outcome)
    force_field = {
        head: _force_field_card(head, force_field.data, task.heads[head], network)
        for head, force_field in plan.force_fields.items()
    }
    card = ModelCard(
        name=config.name,
        description=config.description,
        strategy=config.strategy,
        energy_head=task.energy_head,
        properties=properties,
        force_field=force_field,
        force_field_domains={
            head: _force_field_domain(task.heads[head]) for head in force_field
        },
        versions={
            package: importlib.metadata.version(package)
            for package in ("mftscreen", "deepmd-kit", "torch", "ase")
        },
        licence=config.licence,
        provenance={
            "config": _portable(config.model_dump()),
            "pretrained_sha256": task.pretrained_sha256,
            **({"pretrained": task.origin} if task.origin else {}),
            **training,
        },
    )
    packed = pack_references({name: r.arrays for name, r in references.items()})
    around = pack_neighborhoods([r.neighborhood(s) for r, s in scales.items()])
    write_bundle(path, card, checkpoint, packed, calibration, readouts, around)


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
    head: str, branch: BranchConfig, split: Parts, network: DeepmdNetwork
) -> dict[str, Any]:
    tests = {}
    for name, path in branch.test.items():
        errors = evaluate_force_field(network, head, list(read_force_field(path)))
        # other calculations have another zero of energy
        tests[name] = {k: v for k, v in errors.items() if k != "energy_mae"}
    return {
        "training_set": branch.training_set,
        "n_train": len(split["train"]),
        "validation": evaluate_force_field(network, head, sample(split["validation"])),
        **tests,
    }


def _force_field_domain(split: Parts) -> ForceFieldDomain:
    structures = [row.atoms for row in split["train"]]
    return ForceFieldDomain(
        elements=_elements(structures), domain=HeadDomain.of(structures)
    )


def _elements(structures: Sequence[Atoms]) -> list[str]:
    """Return the chemical symbols of structures, by atomic number."""
    symbols = {symbol for atoms in structures for symbol in atoms.symbols}
    return sorted(symbols, key=lambda symbol: atomic_numbers[symbol])


def _property_card(
    config: Any,
    spec: PropertySpec,
    split: Parts,
    outcome: PropertyOutcome,
) -> PropertyHead:
    labels = property_labels(split["train"], spec.name)
    metrics = {}
    for test, (rows, values) in outcome.predicted.items():
        target = property_labels(rows, spec.name)
        errors = regression_metrics(values, target)
        errors["mae_of_training_mean"] = float(np.abs(target - labels.mean()).mean())
        # JSON has no NaN: R2 and Spearman of a single target
        metrics[test] = {k: v for k, v in errors.items() if math.isfinite(v)}
        if test != "validation":  # which the intervals are made of
            metrics[test] |= measure_coverage(
                spec.name, split, test, values, outcome.calibration, outcome.around
            )
    structures = [s.atoms for s in split["train"]]
    return PropertyHead(
        spec=spec,
        head=spec.name if outcome.neural else None,
        readout=None if outcome.kernel is None else outcome.kernel.card,
        bias=config.properties[spec.name].bias if outcome.neural else None,
        elements=_elements(structures),
        domain=HeadDomain.of(structures),
        n_train=len(labels),
        train_range=(float(labels.min()), float(labels.max())),
        training_set=config.data.description
        or ", ".join(path.name for path in config.data.train),
        training_hash=data_hash(split["train"], [spec.name]),
        n_calibration=outcome.calibration.n_usable(),
        metrics=metrics,
    )
