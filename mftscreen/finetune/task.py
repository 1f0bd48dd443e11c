"""The data of a training run: read, split, checked, hashed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from mftscreen.errors import DataError, StructureError
from mftscreen.finetune.config import (
    BranchConfig,
    MFTConfig,
    PretrainConfig,
    ScratchConfig,
    TuneConfig,
)
from mftscreen.finetune.dataset import LabelledStructure
from mftscreen.finetune.sources import read_force_field, read_labelled
from mftscreen.model.bundle import read_bundle
from mftscreen.model.checkpoint import model_parameters, read_state
from mftscreen.model.registry import resolve_model
from mftscreen.structures import check_structure, structure_hash

__all__ = ["Split", "Task", "data_hash", "load_task"]

log = logging.getLogger(__name__)
Split = dict[str, list[LabelledStructure]]


@dataclass(frozen=True)
class Task:
    """What a configuration refers to, in memory.

    Attributes
    ----------
    heads : mapping of str to Split
        By head (property, auxiliary head or branch), then by part: ``train``,
        ``validation`` and the names of test sets.
    type_map : sequence of str
    state : mapping or None
        Of the pretrained checkpoint.
    pretrained_sha256 : str
        Empty without one.
    """

    heads: Mapping[str, Split]
    type_map: Sequence[str]
    state: Mapping[str, Any] | None
    pretrained_sha256: str

    @property
    def data_hash(self) -> str:
        """Hash of what is trained on and validated with, in order."""
        digest = hashlib.sha256()
        for head, split in self.heads.items():
            for part in ("train", "validation"):
                digest.update(f"{head} {part} {data_hash(split[part])}\n".encode())
        return digest.hexdigest()


def data_hash(structures: Sequence[LabelledStructure]) -> str:
    """Return a sha256 over structures and labels, in order."""
    digest = hashlib.sha256()
    for item in structures:
        digest.update(structure_hash(item.atoms).encode())
        for name, value in sorted(item.labels.items()):
            digest.update(f" {name} ".encode())
            digest.update(np.ascontiguousarray(value, dtype="<f8").tobytes())
    return digest.hexdigest()


def load_task(config: TuneConfig) -> Task:
    """Read all data and the pretrained model, and check that they fit together.

    Parameters
    ----------
    config : ScratchConfig, FTConfig, LPConfig, MFTConfig or PretrainConfig

    Returns
    -------
    Task

    Raises
    ------
    DataError
        If data cannot be read or split, or a structure cannot be used; it is named.
    ModelError
        If the pretrained model cannot be read.
    """
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
    return Task(heads, list(type_map), state, pretrained_sha256)


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
