"""One training run, from a configuration to a ``.mft`` model file.

A run directory holds everything: the resolved configuration, deepmd-kit's data, input,
log and checkpoints, and in the end ``model.mft``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase.data import atomic_numbers

from mftscreen.errors import ConfigError, DataError, ModelError, StructureError
from mftscreen.finetune.config import (
    BranchConfig,
    MFTConfig,
    PretrainConfig,
    ScratchConfig,
    TuneConfig,
)
from mftscreen.finetune.dataset import (
    ENERGY_LABELS,
    LabelledStructure,
    write_deepmd_npy,
)
from mftscreen.finetune.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)
from mftscreen.finetune.evaluate import evaluate_force_field, evaluate_property
from mftscreen.finetune.launch import INPUT, checkpoints, train
from mftscreen.finetune.sources import read_force_field, read_labelled
from mftscreen.model.backend import DeepmdNetwork
from mftscreen.model.bundle import ModelCard, PropertyHead, read_bundle, write_bundle
from mftscreen.model.checkpoint import (
    model_parameters,
    read_state,
    resize_neighbor_budget,
    save_state,
)
from mftscreen.model.registry import resolve_model
from mftscreen.structures import check_structure, find_neighbors, structure_hash

__all__ = ["run_training"]

CONFIG, PRETRAINED, MODEL = "config.yaml", "pretrained.pt", "model.mft"
N_VALIDATED = 500
"""Structures per head that checkpoints are compared on."""

log = logging.getLogger(__name__)
Split = dict[str, list[LabelledStructure]]


@dataclass(frozen=True)
class _Task:
    """The data of a run: by head, then by part (train, validation, tests)."""

    heads: Mapping[str, Split]
    type_map: Sequence[str]
    state: Mapping[str, Any] | None
    pretrained_sha256: str


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
        configuration.
    DataError
        If data cannot be used; the row is named.
    ModelError
        If the pretrained model lacks a head or an element that is needed.
    TrainingError
        See :func:`mftscreen.finetune.launch.train`.
    """
    _claim(config, directory, resume)
    task = _load(config)
    if not (directory / INPUT).exists():
        _prepare(config, task, directory)
    train(
        directory,
        config.training.steps,
        pretrained=PRETRAINED if task.state is not None else None,
        random_head=not isinstance(config, MFTConfig),
        threads=threads,
        progress=progress,
    )
    chosen, curve = _best_checkpoint(config, task, directory)
    return _write_model(config, task, directory, chosen, curve)


def _claim(config: TuneConfig, directory: Path, resume: bool) -> None:
    """Make the directory this run's, or check that it is."""
    directory.mkdir(parents=True, exist_ok=True)
    stored = directory / CONFIG
    text = yaml.safe_dump(json.loads(config.model_dump_json()), sort_keys=False)
    if not stored.exists():
        stored.write_text(text, encoding="utf-8")
        return
    if not resume:
        problem = (
            f"{directory} already holds a run; continue it with --resume or choose "
            "another directory with --output"
        )
        raise ConfigError([problem])
    if stored.read_text(encoding="utf-8") != text:
        problem = (
            f"{stored} differs from the configuration given; a run is resumed with "
            "the configuration it was started with"
        )
        raise ConfigError([problem])


def _load(config: TuneConfig) -> _Task:
    """Read all data and the pretrained model, and check that they fit together."""
    heads: dict[str, Split] = {}
    seed = config.training.seed
    state, pretrained_sha256 = None, ""
    type_map: Sequence[str] | None = None
    if isinstance(config, PretrainConfig):
        for name, branch in config.branches.items():
            heads[name] = _load_branch(branch, seed)
    else:
        heads[config.property.name] = _load_property(config, seed)
        if isinstance(config, MFTConfig):
            heads[config.auxiliary.head] = _load_branch(config.auxiliary, seed)
        if isinstance(config, ScratchConfig):
            type_map = config.elements
        else:
            state, pretrained_sha256 = _load_pretrained(config.pretrained)
            first = next(iter(model_parameters(state).values()))
            type_map = first["type_map"]
    everything = [
        s for split in heads.values() for part in split.values() for s in part
    ]
    if type_map is None:
        symbols = {symbol for s in everything for symbol in s.atoms.symbols}
        type_map = sorted(symbols, key=lambda symbol: atomic_numbers[symbol])
    for item in everything:
        try:
            check_structure(item.atoms, type_map)
        except StructureError as error:
            msg = f"structure {item.id}: {error}"
            raise DataError(msg) from error
    return _Task(heads, list(type_map), state, pretrained_sha256)


def _load_property(config: Any, seed: int) -> Split:
    name, data = config.property.name, config.data

    def load(path: Path) -> list[LabelledStructure]:
        return [
            LabelledStructure(s.id, s.atoms, {name: s.labels[data.column]})
            for s in read_labelled(path, data.column)
        ]

    train_set = [s for path in data.train for s in load(path)]
    if data.validation is None:
        split = _split(train_set, data.validation_fraction, seed, lambda s: s.id)
    else:
        validation = [s for path in data.validation for s in load(path)]
        split = {"train": train_set, "validation": validation}
    for test, path in data.test.items():
        split[test] = load(path)
        seen = {structure_hash(s.atoms): s.id for s in split["train"]}
        both = [s.id for s in split[test] if structure_hash(s.atoms) in seen]
        if both:
            log.warning(
                "%d structures of test %r are in the training set, too: %s",
                len(both),
                test,
                ", ".join(both[:5]),
            )
    return split


def _load_branch(branch: BranchConfig, seed: int) -> Split:
    structures = [s for path in branch.data for s in read_force_field(path)]
    key = branch.group
    return _split(
        structures,
        branch.validation_fraction,
        seed,
        (lambda s: str(s.atoms.info.get(key, s.id))) if key else (lambda s: s.id),
    )


def _split(
    structures: list[LabelledStructure],
    fraction: float,
    seed: int,
    group_of: Callable[[LabelledStructure], str],
) -> Split:
    """Set whole groups aside until `fraction` of all groups is for validation."""
    groups = sorted({group_of(s) for s in structures})
    if len(groups) < 2:
        msg = f"{len(groups)} distinct structures cannot be split; two are needed"
        raise DataError(msg)
    n_validation = max(1, int(fraction * len(groups)))
    rng = np.random.default_rng(seed)
    held_out = set(rng.choice(groups, size=n_validation, replace=False).tolist())
    split: Split = {"train": [], "validation": []}
    for item in structures:
        split["validation" if group_of(item) in held_out else "train"].append(item)
    return split


def _load_pretrained(source: str) -> tuple[dict[str, Any], str]:
    path, _ = resolve_model(source)
    if path.suffix == ".pt":
        content = path.read_bytes()
        return read_state(content), hashlib.sha256(content).hexdigest()
    bundle = read_bundle(path)
    return read_state(bundle.checkpoint), bundle.sha256


def _prepare(config: TuneConfig, task: _Task, directory: Path) -> None:
    """Write data, pretrained checkpoint and, last, the training input."""
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
    pretrained = None
    cutoffs: tuple[float, float]
    if task.state is not None:
        parameters = model_parameters(task.state)
        first = next(iter(parameters.values()))
        pretrained = Pretrained(
            type_map=task.type_map,
            descriptor=first["descriptor"],
            fitting={name: p["fitting_net"] for name, p in parameters.items()},
        )
        if isinstance(config, MFTConfig) and config.auxiliary.head not in parameters:
            msg = (
                f"the pretrained model has no head {config.auxiliary.head!r}; "
                f"its heads: {', '.join(parameters)}"
            )
            raise ModelError(msg)
        repflow = first["descriptor"].get("repflow", {})
        cutoffs = (repflow.get("e_rcut", 6.0), repflow.get("a_rcut", 4.0))
    else:
        assert isinstance(config, ScratchConfig | PretrainConfig)
        size = config.descriptor
        cutoffs = (size.edge_cutoff, size.angle_cutoff)
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
    partial = directory / f".{INPUT}.part"
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.replace(directory / INPUT)


def _label_names(head: str, config: TuneConfig) -> Sequence[str]:
    if isinstance(config, PretrainConfig) or head != config.property.name:
        return ENERGY_LABELS
    return (head,)


def _most_neighbors(task: _Task, cutoffs: tuple[float, float]) -> tuple[int, int]:
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
    config: TuneConfig, task: _Task, directory: Path
) -> tuple[int, dict[str, dict[str, float]]]:
    """Return the step of the best checkpoint and the validation errors of all."""
    cache = directory / "validation.json"
    curve: dict[str, dict[str, float]] = (
        json.loads(cache.read_text()) if cache.exists() else {}
    )
    for step, path in checkpoints(directory).items():
        if str(step) not in curve:
            network = DeepmdNetwork.from_checkpoint(path)
            curve[str(step)] = _validate(config, task, network)
            cache.write_text(json.dumps(curve, indent=1))
    key = "force_mae" if isinstance(config, PretrainConfig) else "mae"
    best = min(curve, key=lambda step: curve[step][key])
    log.info("best checkpoint: step %s, validation %s", best, curve[best])
    return int(best), curve


def _validate(
    config: TuneConfig, task: _Task, network: DeepmdNetwork
) -> dict[str, float]:
    if isinstance(config, PretrainConfig):
        part = task.heads[config.energy_head]["validation"][:N_VALIDATED]
        return evaluate_force_field(network, config.energy_head, part)
    name = config.property.name
    head = _property_head(config)
    part = task.heads[name]["validation"][:N_VALIDATED]
    return evaluate_property(network, head, name, part)


def _property_head(config: Any) -> str:
    """Return deepmd's name of the property head."""
    return config.property.name if isinstance(config, MFTConfig) else "Default"


def _write_model(
    config: TuneConfig,
    task: _Task,
    directory: Path,
    step: int,
    curve: Mapping[str, Mapping[str, float]],
) -> Path:
    checkpoint = save_state(read_state(checkpoints(directory)[step]))
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    properties, reference = {}, None
    if isinstance(config, PretrainConfig):
        energy_head: str | None = config.energy_head
        branches: Mapping[str, BranchConfig] = config.branches
    else:
        energy_head, branches = None, {}
        if isinstance(config, MFTConfig):
            energy_head = config.auxiliary.head
            branches = {energy_head: config.auxiliary}
        name = config.property.name
        properties[name] = _property_card(config, task.heads[name], network)
        reference = _reference_set(task.heads[name]["train"])
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
            "config": json.loads(config.model_dump_json(exclude={"data", "branches"})),
            "pretrained_sha256": task.pretrained_sha256,
            "step": step,
            "validation": dict(curve[str(step)]),
        },
    )
    path = directory / MODEL
    write_bundle(path, card, checkpoint, reference)
    return path


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
        "validation": evaluate_force_field(
            network, head, split["validation"][:N_VALIDATED]
        ),
        **tests,
    }


def _property_card(config: Any, split: Split, network: DeepmdNetwork) -> PropertyHead:
    name, head = config.property.name, _property_head(config)
    labels = np.array([float(s.labels[name]) for s in split["train"]])
    digest = hashlib.sha256()
    for item in split["train"]:
        digest.update(f"{structure_hash(item.atoms)} {item.labels[name]}\n".encode())
    metrics = {}
    for test, structures in split.items():
        if test != "train":
            metrics[test] = evaluate_property(network, head, name, structures)
            target = np.array([float(s.labels[name]) for s in structures])
            metrics[test]["mae_of_training_mean"] = float(
                np.abs(target - labels.mean()).mean()
            )
    symbols = {symbol for s in split["train"] for symbol in s.atoms.symbols}
    return PropertyHead(
        spec=config.property,
        head=head,
        elements=sorted(symbols, key=lambda symbol: atomic_numbers[symbol]),
        n_train=len(labels),
        train_range=(float(labels.min()), float(labels.max())),
        training_set=", ".join(path.name for path in config.data.train),
        training_hash=digest.hexdigest(),
        metrics=metrics,
    )


def _reference_set(structures: Sequence[LabelledStructure]) -> dict[str, Any]:
    """Return the arrays of the OFM reference set of the training structures."""
    from mftscreen.ood.reference import build_reference

    return build_reference([s.atoms for s in structures], [s.id for s in structures])
