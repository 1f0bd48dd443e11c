"""One training run, from a configuration to a ``.mft`` model file.

A run directory holds everything: the resolved configuration, deepmd-kit's data, input,
log and checkpoints, and in the end ``model.mft``.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mftscreen.data.dataset import ENERGY_LABELS, write_deepmd_npy
from mftscreen.errors import ConfigError, TrainingError
from mftscreen.finetune.config.read import is_same
from mftscreen.finetune.outcome.collapse import collapse_parts, report_collapse
from mftscreen.finetune.outcome.model_card import write_model
from mftscreen.finetune.run.launch import INPUT, LOG, train
from mftscreen.finetune.run.select import Selection
from mftscreen.finetune.run.validation import Validator
from mftscreen.finetune.strategies import TuneConfig
from mftscreen.finetune.stream.spec import STREAMS, streams_text
from mftscreen.finetune.task.bias import element_bias
from mftscreen.finetune.task.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)
from mftscreen.finetune.task.task import Task, load_task
from mftscreen.finetune.trainer.balance import (
    COMBINATION,
    Combination,
    summarize_training,
)
from mftscreen.model.backbones import find_architecture
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state
from mftscreen.model.files.registry import MODEL
from mftscreen.writing import replacing

__all__ = ["run_training"]

CONFIG, DATA, DATA_HASH = "config.yaml", "data", "data.sha256"
PRETRAINED, PRETRAINED_HASH = "pretrained.pt", "pretrained.sha256"
TESTS_HASH = "tests.sha256"
NOT_WRITABLE = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS
}  # fmt: skip

log = logging.getLogger(__name__)


def run_training(
    config: TuneConfig,
    directory: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    progress: bool = False,
    collapse_against: str | None = None,
) -> Path:
    """Train a model and write it as ``model.mft``.

    Parameters
    ----------
    config : TuneConfig
    directory : Path
        Where everything is written.
    resume : bool
        Continue the run in `directory` from its last checkpoint.
    threads : int, optional
        Threads of the training process; all cores by default.
    progress : bool
        Whether to show progress on stderr.
    collapse_against : str, optional
        If a network is trained, the pretrained model that the new one is compared with
        in the end, such as
        :func:`mftscreen.finetune.outcome.collapse.starting_model` returns; see
        :func:`mftscreen.finetune.outcome.collapse.report_collapse`.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    ConfigError
        If `config` says ``strategy: auto``, which compares strategies before it trains
        one; if it is a pretraining that is to be compared; if `directory` holds a run
        and `resume` is false, or the run had another configuration or other data.
    DataError
        If data cannot be used; the row is named.
    ModelError
        If the pretrained model lacks a head or an element that is needed.
    TrainingError
        See :func:`mftscreen.finetune.run.launch.train`.
    """
    strategy, plan = f"strategy: {config.strategy}", config.plan
    if config.compares_first:
        problem = f"{strategy} is for 'mftscreen finetune', which compares first"
        raise ConfigError([problem])
    if collapse_against is not None and not plan.properties:
        problem = f"{strategy} has no collapse report: no property is trained"
        raise ConfigError([problem])
    started = _check_directory(config, directory, resume)
    task = load_task(config, progress=progress)
    with _writing_to(directory):
        if started:
            _check_unchanged(task, directory)
        if plan.training is None:
            return _fit(config, task, directory, progress)
        if not started:
            _prepare(config, task, directory)
        settings = plan.training
        selection = Selection(
            directory,
            Validator(task),
            patience=settings.patience,
            averaged=settings.ema is not None,
        )
        train(
            directory,
            settings.steps,
            selection,
            save_every=settings.save_every,
            pretrained=PRETRAINED if plan.transfers else None,
            every_head=plan.transfers_properties,
            n_gpus=settings.n_gpus,
            threads=threads,
            progress=progress,
        )
        model = _write_best(task, selection, progress)
    if collapse_against is not None:
        parts = collapse_parts(task.data)
        report_collapse(model, collapse_against, parts, progress=progress)
    return model


def _check_unchanged(task: Task, directory: Path) -> None:
    """Raise if a run was started from another pretrained model or other data."""
    pretrained = directory / PRETRAINED_HASH
    # earlier versions did not write it
    if pretrained.exists() and pretrained.read_text() != _digests(task):
        problem = (
            f"{directory} was started from another pretrained model of this name; "
            "continue it with the version of mftscreen, or the file, that it was "
            "started with, or start another run with --output"
        )
        raise ConfigError([problem])
    if (directory / DATA_HASH).read_text() != task.data.hash:
        problem = (
            f"the data, or how mftscreen divides them, have changed since {directory} "
            "was started; start another run with --output"
        )
        raise ConfigError([problem])


def _fit(config: TuneConfig, task: Task, directory: Path, progress: bool) -> Path:
    """Fit kernel read-outs to the pretrained descriptor and write a model file."""
    path, measured = directory / MODEL, directory / TESTS_HASH
    tests = task.data.tests_hash
    # other tests have other errors, which are part of the file; an earlier version did
    # not write which they were
    known = measured.read_text() if measured.exists() else tests
    if not path.exists() or known != tests:
        _write_origin(config, task, directory)
        checkpoint = save_state(task.state or {})
        write_model(path, task, checkpoint, {}, progress=progress)
    _replace(measured, tests)
    return path


def _write_best(task: Task, selection: Selection, progress: bool) -> Path:
    """Write the best checkpoint as a model file."""
    best = selection.best
    if best is None:
        msg = "no checkpoint has a finite validation error"
        raise TrainingError(msg, selection.directory / LOG)
    log.info("best checkpoint: step %d, validation %s", best, selection.curve[best])
    training = {
        "step": best,
        "last_step": max(selection.curve),
        "validation": selection.curve[best],
        **summarize_training(selection.directory),
    }
    path = selection.directory / MODEL
    checkpoint = save_state(read_state(selection.best_path))
    write_model(path, task, checkpoint, training, progress=progress)
    return path


@contextmanager
def _writing_to(directory: Path) -> Iterator[None]:
    """Say what to do when the disk is full or permission is missing."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        msg = (
            f"cannot write in {directory}: {error.strerror}; checkpoints so far are "
            "kept, go on with --resume, or choose another directory with --output"
        )
        raise TrainingError(msg) from error


def _check_directory(config: TuneConfig, directory: Path, resume: bool) -> bool:
    """Return whether the directory holds this run already; raise if it may not."""
    if not (directory / DATA_HASH).exists():
        # what is there is somebody's own: labels, a configuration with its comments
        names = (CONFIG, DATA, INPUT, MODEL)
        if found := [name for name in names if (directory / name).exists()]:
            problem = (
                f"{directory} has {' and '.join(found)}, and no {DATA_HASH}, which a "
                "run writes first; choose another directory with --output"
            )
            raise ConfigError([problem])
        return False
    if not any((directory / name).exists() for name in (INPUT, MODEL)):
        return False
    if not resume:
        problem = (
            f"{directory} already holds a run; continue it with --resume or choose "
            "another directory with --output"
        )
        raise ConfigError([problem])
    if not _is_written(config, (directory / CONFIG).read_text(encoding="utf-8")):
        problem = (
            f"{directory / CONFIG} differs from the configuration given; a run is "
            "resumed with the configuration it was started with"
        )
        raise ConfigError([problem])
    return True


def _is_written(config: TuneConfig, text: str) -> bool:
    """Return whether a configuration was written so, by this version or another."""
    try:
        return is_same(config, yaml.safe_load(text))
    except yaml.YAMLError:
        return False


def _as_yaml(config: TuneConfig) -> str:
    document = json.loads(config.model_dump_json())
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _replace(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _prepare(config: TuneConfig, task: Task, directory: Path) -> None:
    """Write data, pretrained checkpoint and, last, the training input."""
    pretrained = _starting_point(task)
    _write_origin(config, task, directory)
    data, shared = {}, task.data.shared
    for heads in (*shared, *([head] for head in task.data.frames)):
        train_set, validation = (
            _write_part(task, heads, part, directory)
            for part in ("train", "validation")
        )
        for head in heads:
            bias = _element_bias(task, head)
            data[head] = PreparedData(train_set, validation, bias)
            if head in task.by_target:
                transform = task.by_target[head][0].transform
                data[head] = replace(data[head], transform=transform)
    document = build_deepmd_input(
        task.config, data, task.type_map, task.neighbors, pretrained
    )
    if task.state is not None and config.plan.transfers:
        model = document["model"]
        descriptor = model.get("shared_dict", model)["descriptor"]
        state = find_architecture(descriptor).fit_state(task.state, descriptor)
        with replacing(directory / PRETRAINED) as partial:
            partial.write_bytes(save_state(state))
    if task.streams:
        _replace(directory / STREAMS, streams_text(task.streams))
    combination = _combination(config, shared)
    _replace(directory / COMBINATION, combination.to_json())
    # the presence of this file says that everything else is there
    _replace(directory / INPUT, json.dumps(document, indent=1))


def _write_origin(config: TuneConfig, task: Task, directory: Path) -> None:
    """Write what a run is made from, which it is resumed with."""
    directory.mkdir(parents=True, exist_ok=True)
    # first: it says that the folder is that of a run
    _replace(directory / DATA_HASH, task.data.hash)
    _replace(directory / CONFIG, _as_yaml(config))
    _replace(directory / PRETRAINED_HASH, _digests(task))


def _digests(task: Task) -> str:
    """Return the sha256 of all pretrained models, a line for each."""
    return "\n".join(
        [task.pretrained_sha256, *(d.card.sha256 for d in task.frozen[1:])]
    )


def _write_part(
    task: Task, heads: Sequence[str], part: str, directory: Path
) -> list[Path]:
    """Write a part of the rows that heads have in common, with the labels of all."""
    rows = task.targets(heads, part)
    names = heads if heads[0] in task.by_target else ENERGY_LABELS
    folder = directory / DATA / heads[0] / part
    written = write_deepmd_npy(rows, folder, task.type_map, names)
    return [path.relative_to(directory) for path in written]


def _starting_point(task: Task) -> Pretrained | None:
    """Return what is pretrained, if anything."""
    if task.state is None:
        return None
    parameters = model_parameters(task.state)
    descriptor = next(iter(parameters.values()))["descriptor"]
    fitting = {name: p["fitting_net"] for name, p in parameters.items()}
    return Pretrained(task.type_map, descriptor, fitting, task.origin)


def _element_bias(task: Task, head: str) -> list[float] | list[list[float]] | None:
    """Return p(Z) of Eq. 17 by type, for a head that has it."""
    settings = task.config.plan.properties.get(head)
    if settings is None or not (settings.has_element_bias and settings.form.atomic):
        return None
    rows = task.targets([head], "train")
    intensive = settings.form.intensive
    found = element_bias(rows, head, task.type_map, intensive=intensive)
    bias: list[Any] = (found if settings.n_components > 1 else found[:, 0]).tolist()
    return bias


def _combination(config: TuneConfig, shared: Sequence[Sequence[str]]) -> Combination:
    """Return what the trainer has to know beyond deepmd-kit's input."""
    plan = config.plan
    assert plan.training is not None
    tasks = plan.auxiliaries
    return Combination(
        auxiliary=list(tasks),
        combine="joint" if plan.joins else "alternate",
        aux_prob={} if plan.joins else {h: plan.force_fields[h].share for h in tasks},
        lambda_reg={head: task.lambda_reg for head, task in tasks.items()},
        layer_decay=plan.training.layer_decay,
        shared=shared,
    )
