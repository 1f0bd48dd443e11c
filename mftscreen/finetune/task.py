"""The data of a training run: read, split, checked, hashed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from mftscreen.errors import ConfigError, DataError, StructureError
from mftscreen.finetune.auxiliary import load_auxiliary
from mftscreen.finetune.bias import settle_bias
from mftscreen.finetune.dataset import LabelledStructure
from mftscreen.finetune.evaluate import property_labels
from mftscreen.finetune.partition import ID_TEST, divide, without_formulas_of
from mftscreen.finetune.pretrained import check_quantities, load_pretrained
from mftscreen.finetune.self_replay import PARENT, Teacher
from mftscreen.finetune.settings import BranchConfig, PropertyConfig
from mftscreen.finetune.sources import (
    RowProblem,
    check_problems,
    read_force_field,
    read_labelled,
)
from mftscreen.finetune.strategies import TuneConfig
from mftscreen.model.checkpoint import model_parameters
from mftscreen.properties import PropertySpec, Transform
from mftscreen.structures import check_structure, structure_hash

__all__ = ["Split", "Task", "data_hash", "load_task"]

log = logging.getLogger(__name__)
Split = dict[str, list[LabelledStructure]]


@dataclass(frozen=True)
class Task:
    """What a configuration refers to, in memory.

    Attributes
    ----------
    config : TuneConfig
        With biases that fit the data; see :func:`mftscreen.finetune.bias.settle_bias`.
    heads : mapping of str to Split
        By head (property, auxiliary or pretrained one), then by part: ``train``,
        ``validation`` and the names of test sets.
    type_map : sequence of str
    state : mapping or None
        Of the pretrained checkpoint.
    pretrained_sha256 : str
        Empty without one.
    specs : mapping of str to PropertySpec
        The properties, with the parameters of their transforms.
    """

    config: TuneConfig
    heads: Mapping[str, Split]
    type_map: Sequence[str]
    state: Mapping[str, Any] | None
    pretrained_sha256: str
    specs: Mapping[str, PropertySpec] = field(default_factory=dict)

    def targets(self, head: str, part: str) -> list[LabelledStructure]:
        """Return a part of a head's data with the labels that are trained on."""
        rows = self.heads[head][part]
        if head not in self.specs:
            return rows
        targets = self.specs[head].transform.apply(property_labels(rows, head))
        return [
            replace(row, labels={head: target})
            for row, target in zip(rows, targets, strict=True)
        ]

    @property
    def shared(self) -> list[list[str]]:
        """Properties with labels of the same training and validation rows, together."""
        groups: dict[tuple[int, ...], list[str]] = {}
        for head in self.specs:
            parts = [self.heads[head][part] for part in ("train", "validation")]
            # the rows of all properties hold the same objects
            rows = (len(parts[0]), *(id(row.atoms) for part in parts for row in part))
            groups.setdefault(rows, []).append(head)
        return list(groups.values())

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


def load_task(
    config: TuneConfig, folder: Path | None = None, *, progress: bool = False
) -> Task:
    """Read all data and the pretrained model, and check that they fit together.

    Parameters
    ----------
    config : TuneConfig
    folder : Path, optional
        Where frames that the pretrained model labels are kept, for the next time.
    progress : bool
        Whether to show the progress of a download and of labelling on stderr.

    Returns
    -------
    Task

    Raises
    ------
    ConfigError
        If torch has a use of its own for a head's name, or a head that is taken over
        predicts another quantity.
    DataError
        If data cannot be read or split, or structures cannot be used; they are named.
    ModelError
        If the pretrained model cannot be read, or lacks the auxiliary head or one of
        a property that it is to have.
    """
    plan, seed = config.plan, config.training.seed
    heads = _load_properties(config, seed) if plan.properties else {}
    state, pretrained_sha256, type_map = None, "", plan.elements
    if plan.pretrained is not None:
        kept = list(plan.properties) if plan.transfers_properties else []
        if kept:
            _warn_of_rows_seen(config)
        state, pretrained_sha256 = load_pretrained(
            plan.pretrained, plan.energy_head, kept, progress=progress
        )
        first = next(iter(model_parameters(state).values()))
        type_map = first["type_map"]
    for head, force_field in plan.force_fields.items():
        branch, group = force_field.data, force_field.data.group
        if plan.auxiliary is None or branch is not plan.auxiliary:
            frames = [s for path in branch.data for s in read_force_field(path)]
        else:
            frames = load_auxiliary(
                plan.auxiliary,
                _training_structures(heads),
                Teacher(state or {}, pretrained_sha256, head),
                seed=seed,
                folder=folder,
                progress=progress,
            )
            if plan.auxiliary.drop_test_formulas:
                frames = without_formulas_of(frames, _tests(heads))
            if plan.auxiliary.self_replay is not None:
                group = PARENT
        heads[head] = _split_branch(frames, branch, group, seed)
    _check_names(heads)
    everything = [
        s for split in heads.values() for part in split.values() for s in part
    ]
    if type_map is None:
        symbols = {symbol for s in everything for symbol in s.atoms.symbols}
        type_map = sorted(symbols, key=lambda symbol: atomic_numbers[symbol])
    _check_structures(everything, type_map)
    specs = _fit_specs(plan.properties, heads)
    if plan.pretrained is not None and plan.transfers_properties:
        check_quantities(plan.pretrained, specs)
    settled = settle_bias(config, heads)
    return Task(settled, heads, list(type_map), state, pretrained_sha256, specs)


def _check_names(heads: Iterable[str]) -> None:
    """Raise if torch has a use of its own for a head's name."""
    from torch.nn import ModuleDict  # in which deepmd-kit keeps the heads

    taken = [name for name in heads if hasattr(ModuleDict(), name)]
    if taken:
        msg = f"no head can be called {taken[0]!r}, which means something to torch"
        raise ConfigError([msg])


def _tests(heads: Mapping[str, Split]) -> list[LabelledStructure]:
    """Return what is to be new to the model: all tests but in-distribution ones."""
    return [
        row
        for split in heads.values()
        for part, rows in split.items()
        if part not in ("train", "validation", ID_TEST)
        for row in rows
    ]


def _fit_specs(
    properties: Mapping[str, PropertyConfig], heads: Mapping[str, Split]
) -> dict[str, PropertySpec]:
    """Return the properties; a transform has the training labels' parameters."""
    specs = {}
    for name, settings in properties.items():
        split = heads[name]
        if settings.transform == "log10":
            rows = [s for part in ("train", "validation") for s in split[part]]
            bad = [s.id for s in rows if not s.labels[name] > 0.0]
            if bad:
                msg = (
                    f"{len(bad)} labels of {name!r} are not positive, so that they "
                    f"have no log10: {', '.join(bad[:5])}"
                )
                raise DataError(msg)
        labels = property_labels(split["train"], name)
        transform = Transform.fit(settings.transform, labels)
        specs[name] = spec = settings.spec(name, transform)
        problems = []
        for row in (row for rows in split.values() for row in rows):
            try:
                spec.check_structure(row.atoms)
            except StructureError as error:
                problems.append(RowProblem(row.id, "structure", str(error)))
        check_problems(problems)
    return specs


def _load_properties(config: Any, seed: int) -> dict[str, Split]:
    data = config.data
    columns = {name: p.column or name for name, p in config.properties.items()}

    def load(paths: Sequence[Path]) -> list[LabelledStructure]:
        return [row for path in paths for row in _read_rows(path, columns)]

    rows = load(data.train)
    parts = divide(rows, data.split) if data.split is not None else {"train": rows}
    if data.validation is not None:
        parts["validation"] = load(data.validation)
    elif "validation" not in parts:
        train_set = parts["train"]
        parts |= _split(train_set, data.validation_fraction, seed, lambda s: s.id)
    parts |= {test: load([path]) for test, path in data.test.items()}
    _warn_of_trained_on(parts)
    heads = {
        name: {part: _with_label(rows, name) for part, rows in parts.items()}
        for name in columns
    }
    for name, split in heads.items():
        for part in ("train", "validation"):
            if not split[part]:
                msg = f"no {part} row has a label {columns[name]!r} for {name!r}"
                if part == "validation":
                    msg += (
                        "; name rows that have one in data.validation"
                        if data.split is None
                        else f"; choose another fold than {data.split.fold!r}"
                    )
                raise DataError(msg)
    return heads


def _read_rows(path: Path, columns: Mapping[str, str]) -> Iterator[LabelledStructure]:
    """Yield rows with the labels that they have, under the properties' names."""
    for row in read_labelled(path, *columns.values()):
        labels = {n: row.labels[c] for n, c in columns.items() if c in row.labels}
        yield replace(row, labels=labels)


def _with_label(
    rows: Sequence[LabelledStructure], name: str
) -> list[LabelledStructure]:
    return [
        LabelledStructure(s.id, s.atoms, {name: s.labels[name]})
        for s in rows
        if name in s.labels
    ]


def _warn_of_trained_on(parts: Split) -> None:
    seen = {structure_hash(s.atoms) for s in parts["train"]}
    for test in parts.keys() - {"train", "validation"}:
        both = [s.id for s in parts[test] if structure_hash(s.atoms) in seen]
        if both:
            log.warning(
                "%d structures of test %r are in the training set, too: %s",
                len(both),
                test,
                ", ".join(both[:5]),
            )


def _check_structures(
    rows: Sequence[LabelledStructure], type_map: Sequence[str]
) -> None:
    problems = []
    for row in rows:
        try:
            check_structure(row.atoms, type_map)
        except StructureError as error:
            problems.append(RowProblem(row.id, "structure", str(error)))
    check_problems(problems)


def _training_structures(heads: Mapping[str, Split]) -> list[Atoms]:
    """Return the training structures of all properties, each once."""
    rows = (row for split in heads.values() for row in split["train"])
    return list({id(row.atoms): row.atoms for row in rows}.values())


def _split_branch(
    frames: Sequence[LabelledStructure],
    branch: BranchConfig,
    group: str | None,
    seed: int,
) -> Split:
    return _split(
        frames,
        branch.validation_fraction,
        seed,
        (lambda s: str(s.atoms.info.get(group, s.id))) if group else (lambda s: s.id),
    )


def _warn_of_rows_seen(config: Any) -> None:
    """Say that rows held out now may have been trained on before."""
    if config.data.validation is None:
        log.warning(
            "transfer_properties: held-out rows may be among those that the pretrained "
            "model was trained on, unless their ids, the seed and validation_fraction "
            "are those of its training (a shipped model held other rows out). Errors "
            "and intervals would look too small; name rows that are new to it in "
            "data.validation"
        )


def _split(
    structures: Sequence[LabelledStructure],
    fraction: float,
    seed: int,
    group_of: Callable[[LabelledStructure], str],
) -> Split:
    """Set about `fraction` of all groups aside, by a hash of each with the seed.

    So a group stays on its side when others are added, and a training that goes on
    with more data does not train on what was held out. Where the fraction leaves a side
    empty, it has the nearest group, which may change when others are added.
    """
    places = {g: _place(g, seed) for g in {group_of(s) for s in structures}}
    if len(places) < 2:
        msg = f"{len(places)} distinct structures cannot be split; two are needed"
        raise DataError(msg)
    n_below = sum(place < fraction for place in places.values())
    n_validation = min(max(n_below, 1), len(places) - 1)
    held_out = set(sorted(places, key=places.__getitem__)[:n_validation])
    split: Split = {"train": [], "validation": []}
    for item in structures:
        split["validation" if group_of(item) in held_out else "train"].append(item)
    return split


def _place(group: str, seed: int) -> float:
    """Return a number between 0 and 1, evenly distributed over groups."""
    digest = hashlib.sha256(f"{seed} {group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
