"""From a trained checkpoint to a model file: test errors, card, reference set."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from mftscreen.data.sources import read_force_field
from mftscreen.domain import HeadDomain
from mftscreen.finetune.config.blocks import BranchConfig
from mftscreen.finetune.outcome.predictions import PREDICTIONS, write_predictions
from mftscreen.finetune.outcome.property_results import (
    evaluate_properties,
    list_elements,
)
from mftscreen.finetune.outcome.scores import evaluate_force_field
from mftscreen.finetune.run.validation import sample
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import Parts
from mftscreen.model.files.bundle import (
    ForceFieldDomain,
    ModelCard,
    write_bundle,
)
from mftscreen.model.files.checkpoint import save_state
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.side_by_side import Network, side_by_side

__all__ = ["write_model"]


def write_model(
    path: Path,
    task: Task,
    checkpoint: bytes,
    training: Mapping[str, Any],
    *,
    progress: bool = False,
) -> None:
    """Evaluate a checkpoint on validation and test sets and write a model file.

    Predictions for these sets are written beside it, before it; see
    :mod:`mftscreen.finetune.outcome.predictions`.

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
    further = [save_state(own.state) for own in task.frozen[1:]]
    network = side_by_side(
        [DeepmdNetwork.from_checkpoint(own) for own in (checkpoint, *further)]
    )
    config, plan = task.config, task.config.plan
    results = evaluate_properties(task, network, progress=progress)
    if results.predictions:
        write_predictions(path.with_name(PREDICTIONS), results.predictions)
    force_field = {
        head: {
            **_force_field_card(head, force_field.data, task.heads[head], network),
            **_drawn(head, task, training),
        }
        for head, force_field in plan.force_fields.items()
    }
    card = ModelCard(
        name=config.name,
        description=config.description,
        strategy=config.strategy,
        energy_head=task.energy_head,
        properties=results.cards,
        descriptors=[own.card for own in task.frozen],
        force_field=force_field,
        force_field_domains={
            head: _force_field_domain(
                task.heads[head], training.get("elements", {}).get(head, ())
            )
            for head in force_field
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
    write_bundle(
        path,
        card,
        checkpoint,
        results.references,
        results.calibration,
        results.readouts,
        results.neighborhoods,
        further=further,
    )


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
    head: str, branch: BranchConfig, split: Parts, network: Network
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


def _drawn(head: str, task: Task, training: Mapping[str, Any]) -> dict[str, int]:
    """Return how many frames a head was trained on, if they were drawn from files."""
    if head not in task.streams:
        return {}
    used = training.get("streams", {}).get(head, {}).get("used", 0)
    return {"n_train": min(int(used), task.streams[head].n_used)}


def _force_field_domain(split: Parts, drawn: Iterable[str]) -> ForceFieldDomain:
    """Return what a head was trained on, with elements of frames not in memory."""
    structures = [row.atoms for row in split["train"]]
    elements = {*list_elements(structures), *drawn}
    return ForceFieldDomain(
        elements=sorted(elements, key=lambda symbol: atomic_numbers[symbol]),
        domain=HeadDomain.of(structures),
    )
