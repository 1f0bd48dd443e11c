"""The data of a training run: read, split, checked, hashed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import compress
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import RowProblem, check_problems, read_force_field
from mftscreen.errors import (
    ConfigError,
    DataError,
    StructureError,
    UnsupportedByBackboneError,
)
from mftscreen.finetune.config.auxiliary import AuxiliaryConfig
from mftscreen.finetune.config.blocks import BranchConfig, DataConfig
from mftscreen.finetune.outcome.scores import target_labels
from mftscreen.finetune.strategies import Plan, TuneConfig
from mftscreen.finetune.stream.sample import sample_stream, with_neighbors
from mftscreen.finetune.stream.spec import Stream
from mftscreen.finetune.task.auxiliary import load_auxiliary, stream_auxiliary
from mftscreen.finetune.task.bias import settle_bias
from mftscreen.finetune.task.label_check import check_labels
from mftscreen.finetune.task.partition import (
    check_groups,
    hold_out,
    without_formulas_of,
)
from mftscreen.finetune.task.pretrained import (
    FrozenDescriptor,
    check_distinct,
    check_quantities,
    load_pretrained,
)
from mftscreen.finetune.task.self_replay import PARENT, Teacher
from mftscreen.finetune.task.training_data import (
    Parts,
    TrainingData,
    are_new,
    check_rows,
    read_rows,
)
from mftscreen.model.backbones import find_architecture
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.files.branches import energy_branches
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.network.side_by_side import common_elements
from mftscreen.properties import PropertySpec, by_target
from mftscreen.transforms import Transform
from mftscreen.trust.platt import FEWEST, can_calibrate

__all__ = ["Task", "load_rows", "load_task"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a configuration refers to, in memory.

    Attributes
    ----------
    config : TuneConfig
        With biases that fit the data; see
        :func:`mftscreen.finetune.task.bias.settle_bias`.
    data : TrainingData
    type_map : sequence of str
    state : mapping or None
        Of the pretrained checkpoint.
    pretrained_sha256 : str
        Empty without one.
    specs : mapping of str to PropertySpec
        The properties, with the parameters of their transforms: of a target with
        several numbers all components, and their norm.
    neighbors : tuple of int
        See :func:`mftscreen.finetune.task.training_data.check_rows`.
    streams : mapping of str to Stream
        By head: what it is trained on in place of the frames in `data`, which are a
        sample.
    frozen : sequence of FrozenDescriptor
        What kernels read side by side, that of the pretrained checkpoint first; empty
        if a network is trained.
    """

    config: TuneConfig
    data: TrainingData
    type_map: Sequence[str]
    state: Mapping[str, Any] | None
    pretrained_sha256: str
    specs: Mapping[str, PropertySpec] = field(default_factory=dict)
    neighbors: tuple[int, int] = (1, 1)
    streams: Mapping[str, Stream] = field(default_factory=dict)
    frozen: Sequence[FrozenDescriptor] = ()

    @property
    def heads(self) -> Mapping[str, Parts]:
        """What each head sees of the data."""
        return self.data.heads

    @property
    def origin(self) -> dict[str, Any]:
        """What the pretrained checkpoint says of its origin, if weights are kept."""
        plan = self.config.plan
        if self.state is None or not (plan.transfers or not plan.trains):
            return {}
        parameters = model_parameters(self.state)
        return dict(next(iter(parameters.values())).get("info", {}))

    @property
    def energy_head(self) -> str | None:
        """The force field that calculators will use, if there is one."""
        plan = self.config.plan
        if plan.energy_head is not None or plan.trains:
            return plan.energy_head
        heads = energy_branches(model_parameters(self.state or {}))
        return next(iter(heads), None)

    def targets(self, heads: Sequence[str], part: str) -> list[LabelledStructure]:
        """Return a part of what heads see with the labels that they are trained on.

        Parameters
        ----------
        heads : sequence of str
            A force-field head, or properties that share their rows; see
            :attr:`TrainingData.shared`.
        part : str
        """
        rows = self.heads[heads[0]][part]
        if heads[0] not in self.by_target:
            return list(rows)
        columns = []
        for head in heads:
            labels = target_labels(rows, head)
            for spec in self.by_target[head]:
                if not spec.is_norm:
                    column = labels[:, spec.index]
                    labels[:, spec.index] = spec.transform.apply(column)
            columns.append(labels)
        return [
            replace(row, labels=dict(zip(heads, targets, strict=True)))
            for row, *targets in zip(rows, *columns, strict=True)
        ]

    @cached_property
    def by_target(self) -> dict[str, list[PropertySpec]]:
        """The properties that each head predicts."""
        return by_target(self.specs.values())


def load_task(config: TuneConfig, *, progress: bool = False) -> Task:
    """Read all data and the pretrained model, and check that they fit together.

    Parameters
    ----------
    config : TuneConfig
    progress : bool
        Whether to show the progress of a download and of labelling on stderr.

    Returns
    -------
    Task

    Raises
    ------
    ConfigError
        If torch has a use of its own for a head's name, a head that is taken over
        predicts another quantity, or a pretrained model is named twice.
    DataError
        If data cannot be read or split, or structures or labels cannot be used; they
        are named.
    ModelError
        If the pretrained model cannot be read, or lacks the auxiliary head or one of
        a property that it is to have.
    UnsupportedByBackboneError
        If a property's head reads what descriptors of that kind do not give.
    """
    plan = config.plan
    data = load_rows(plan)
    state, pretrained_sha256, type_map = None, "", plan.elements
    frozen: list[FrozenDescriptor] = []
    if plan.pretrained is not None:
        kept = list(plan.properties) if plan.transfers_properties else []
        if plan.transfers_properties and plan.data is not None:
            _warn_of_rows_seen(plan.data)
        state, pretrained_sha256 = load_pretrained(
            plan.pretrained,
            plan.sources or plan.energy_head,
            kept,
            keeps_force_field=not plan.trains,
            progress=progress,
        )
        first = next(iter(model_parameters(state).values()))
        type_map = first["type_map"]
        if not plan.trains:
            found = [(plan.pretrained, state, pretrained_sha256)]
            found += [(s, *load_pretrained(s, progress=progress)) for s in plan.beside]
            frozen = [FrozenDescriptor.of(*own) for own in found]
            check_distinct(frozen)
            type_map = common_elements([own.type_map for own in frozen])
    cutoffs = _check_backbone(plan, state)
    teach = partial(Teacher, state or {}, pretrained_sha256)
    frames, streams = _load_frames(
        plan, data, teach, type_map or (), cutoffs, progress=progress
    )
    data = replace(
        data,
        frames=frames,
        fingerprints={head: stream.fingerprint for head, stream in streams.items()},
    )
    _check_names(data.heads)
    if type_map is None:
        symbols = {symbol for _, s in data.everything() for symbol in s.atoms.symbols}
        type_map = sorted(symbols, key=lambda symbol: atomic_numbers[symbol])
    neighbors = check_rows(data, type_map, cutoffs)
    streams, neighbors = with_neighbors(streams, neighbors)
    specs = _fit_specs(plan, data.heads)
    check_labels(data, specs)
    if plan.pretrained is not None and plan.transfers_properties:
        check_quantities(plan.pretrained, specs)
    settled = settle_bias(config, data.heads)
    return Task(
        settled,
        data,
        list(type_map),
        state,
        pretrained_sha256,
        specs,
        neighbors,
        streams,
        frozen,
    )


def load_rows(plan: Plan) -> TrainingData:
    """Read the rows of the properties alone, without what goes beside them.

    Parameters
    ----------
    plan : Plan

    Raises
    ------
    DataError
        If they cannot be read or split.
    """
    if plan.data is None:
        return TrainingData()
    sources = [p.label_source(name) for name, p in plan.properties.items()]
    return read_rows(plan.data, sources, plan.seed, validates=plan.trains)


def _load_frames(
    plan: Plan,
    data: TrainingData,
    teach: Callable[[str], Teacher],
    type_map: Sequence[str],
    cutoffs: EdgeCutoffs,
    *,
    progress: bool,
) -> tuple[dict[str, Parts], dict[str, Stream]]:
    """Return the frames of each force field, and which of them are drawn from files."""
    frames: dict[str, Parts] = {}
    streams: dict[str, Stream] = {}
    for head, force_field in plan.force_fields.items():
        task = plan.auxiliaries.get(head)
        if task is None:
            branch: BranchConfig = force_field.data
            found = [
                f for path in branch.data for f in read_force_field(path, branch.group)
            ]
            frames[head] = _split_branch(found, branch, plan.seed)
        elif task.stream is None:
            teacher, rows = teach(force_field.source or head), data.by_property("train")
            found = load_auxiliary(
                task, rows, teacher, seed=plan.seed, progress=progress
            )
            if task.drop_test_formulas:
                found = without_formulas_of(found, data.new_rows)
            frames[head] = _split_branch(found, task, plan.seed)
        else:
            stream = stream_auxiliary(task, data, type_map, cutoffs, plan.seed)
            streams[head], frames[head] = sample_stream(stream)
    return frames, streams


def _check_backbone(plan: Plan, state: Mapping[str, Any] | None) -> EdgeCutoffs:
    """Return how far the descriptor sees; raise if heads read what it does not give."""
    if state is None:
        assert plan.descriptor is not None
        architecture = find_architecture({"type": plan.descriptor.type})
        cutoffs = plan.descriptor.cutoffs
    else:
        descriptor = next(iter(model_parameters(state).values()))["descriptor"]
        architecture = find_architecture(descriptor)
        cutoffs = architecture.cutoffs(descriptor)
    for name, settings in plan.properties.items():
        if plan.trains and settings.form.directed and not architecture.gives_vectors:
            what = f"the vectors that properties.{name}.head: {settings.head} reads"
            raise UnsupportedByBackboneError(architecture.kind, what)
    return cutoffs


def _check_names(heads: Iterable[str]) -> None:
    """Raise if torch has a use of its own for a head's name."""
    from torch.nn import ModuleDict  # in which deepmd-kit keeps the heads

    taken = [name for name in heads if hasattr(ModuleDict(), name)]
    if taken:
        msg = f"no head can be called {taken[0]!r}, which means something to torch"
        raise ConfigError([msg])


def _fit_specs(plan: Plan, heads: Mapping[str, Parts]) -> dict[str, PropertySpec]:
    """Return the properties; a transform has the training labels' parameters."""
    specs: dict[str, PropertySpec] = {}
    for name, settings in plan.properties.items():
        split = heads[name]
        # of neural heads: a kernel has one of its own
        kind = settings.transform_kind if plan.trains else "identity"
        if kind == "log10":
            rows = [s for part in ("train", "validation") for s in split[part]]
            bad = [s.id for s in rows if not np.all(s.labels[name] > 0.0)]
            if bad:
                msg = (
                    f"{len(bad)} labels of {name!r} are not positive, so that they "
                    f"have no log10: {', '.join(bad[:5])}"
                )
                raise DataError(msg)
        labels = target_labels(split["train"], name)
        if settings.kind == "class":
            _check_kinds(name, split, needed=plan.readout != "neural")
        found = settings.specs(name, [Transform.fit(kind, c) for c in labels.T])
        specs |= {spec.name: spec for spec in found}
        problems = []
        for row in (row for rows in split.values() for row in rows):
            try:
                found[0].check_structure(row.atoms)
            except StructureError as error:
                problems.append(RowProblem(row.id, "structure", str(error)))
        check_problems(problems)
    return specs


def _check_kinds(name: str, split: Parts, *, needed: bool) -> None:
    """Raise if there is nothing to tell apart, or, if needed, to calibrate on."""
    labels = target_labels(split["train"], name)
    if np.ptp(labels) == 0.0:
        msg = f"all training labels of {name!r} are {'yes' if labels[0, 0] else 'no'}"
        raise DataError(msg)
    part, rows = "train", list(split["train"])
    if split["validation"]:
        part, new = "validation", are_new(split["validation"], rows)
        rows = list(compress(split["validation"], new.tolist()))
    if needed and not (rows and can_calibrate(target_labels(rows, name)[:, 0])):
        msg = (
            f"a kernel for {name!r} needs at least {FEWEST} {part} rows of yes and of "
            "no to make probabilities on"
        )
        if part == "validation":
            msg += ", of structures that are not training rows, too"
        raise DataError(msg)


def _split_branch(
    frames: Sequence[LabelledStructure], branch: BranchConfig, seed: int
) -> Parts:
    fraction = branch.validation_fraction
    if isinstance(branch, AuxiliaryConfig) and branch.self_replay is not None:
        return hold_out(frames, fraction, seed, lambda s: str(s.atoms.info[PARENT]))
    if branch.group is not None:
        check_groups(branch.group, [bool(frame.group) for frame in frames])
    return hold_out(frames, fraction, seed, lambda s: s.group or s.id)


def _warn_of_rows_seen(data: DataConfig) -> None:
    """Say that rows held out now may have been trained on before."""
    if data.validation is None:
        log.warning(
            "transfer_properties: held-out rows may be among those that the pretrained "
            "model was trained on, unless their ids, the seed and validation_fraction "
            "are those of its training (a shipped model held other rows out). Errors "
            "and intervals would look too small; name rows that are new to it in "
            "data.validation"
        )
