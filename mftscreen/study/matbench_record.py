"""The record of MatBench's five folds that its own package writes and reads."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mftscreen.errors import DataError
from mftscreen.finetune.outcome.predictions import (
    PREDICTIONS,
    Prediction,
    read_predictions,
)
from mftscreen.finetune.task.partition import OOD_TEST
from mftscreen.study.plan import Conditions
from mftscreen.study.run import Study
from mftscreen.writing import output_file

__all__ = ["write_matbench_record"]

_PACKAGE = "pip install --no-deps matbench==0.6"
_PREFIX = "matbench_"
N_FOLDS = 5


def write_matbench_record(study: Study, path: Path) -> None:
    """Write the predictions for MatBench's own folds as ``matbench`` records them.

    Parameters
    ----------
    study : Study
        Jobs for the five folds of the split ``random`` of tasks that are called as in
        MatBench, ``dielectric`` or ``matbench_dielectric``, by one way of training.
        Other jobs are not looked at.
    path : Path
        ``.json`` or ``.json.gz``.

    Raises
    ------
    DataError
        If the package is not installed, there are several jobs for a fold or jobs of
        several kinds, a job has several properties, a fold is missing, or its rows are
        not those of MatBench.

    Notes
    -----
    The scores in the file are those that ``matbench`` itself has calculated, from the
    labels of the study, which are MatBench's if the data are its own file. Its
    package cannot be resolved with today's scikit-learn and scipy, so that it has to
    be installed without what it depends on.

    References
    ----------
    A. Dunn, Q. Wang, A. Ganose, D. Dopp and A. Jain, npj Comput. Mater. 6, 138 (2020),
    doi:10.1038/s41524-020-00406-3
    """
    with _quiet_matbench() as matbench:
        jobs = _jobs_by_task(study, matbench.metadata.mbv01_metadata)
        benchmark = matbench.bench.MatbenchBenchmark(autoload=False, subset=list(jobs))
        conditions: dict[str, Any] = {}
        for name, folds in jobs.items():
            _record(benchmark.tasks_map[name], folds, study)
            some = next(iter(folds.values()))
            named = ("strategy", "backbone", "variant", "train_share", "seed")
            conditions[name] = {key: getattr(some, key) for key in named}
        benchmark.add_metadata({"study": study.name, "trained": conditions})
        text = json.dumps(benchmark.as_dict())
    with output_file(path) as partial:
        if path.suffix == ".gz":
            partial.write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            partial.write_text(text, encoding="utf-8")


@contextmanager
def _quiet_matbench() -> Iterator[Any]:
    """Import the package, which says on standard output what it does."""
    try:
        import matbench
        import matbench.bench
        import matbench.metadata
    except ImportError as error:
        msg = f"the package matbench cannot be imported: {error}; {_PACKAGE}"
        raise DataError(msg) from error
    logger = logging.getLogger("matbench")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield matbench
    finally:
        logger.setLevel(before)


def _jobs_by_task(
    study: Study, known: Mapping[str, Any]
) -> dict[str, dict[str, Conditions]]:
    """Return the jobs of each task by fold."""
    jobs: dict[str, dict[str, Conditions]] = {}
    for conditions in study.folders:
        name = _PREFIX + conditions.task.removeprefix(_PREFIX)
        if name not in known or not conditions.in_distribution:
            continue
        folds = jobs.setdefault(name, {})
        for other in folds.values():
            if replace(conditions, fold=other.fold) == other:
                continue
            msg = (
                f"a record is of one way of training, not of {other} and {conditions}; "
                "use --only"
            )
            raise DataError(msg)
        folds[conditions.fold] = conditions
    wanted = [f"fold_{k}" for k in range(N_FOLDS)]
    for name, folds in jobs.items():
        if missing := [fold for fold in wanted if fold not in folds]:
            msg = f"{name} has no finished job for {', '.join(missing)}"
            raise DataError(msg)
    if not jobs:
        msg = "no finished job is of random folds of a task of MatBench"
        raise DataError(msg)
    return jobs


def _record(task: Any, folds: Mapping[str, Conditions], study: Study) -> None:
    """Record a task's folds with the package, which scores them."""
    import pandas as pd

    found = {
        fold: _tested(study.folders[conditions]) for fold, conditions in folds.items()
    }
    labels = {row.id: row.label for rows in found.values() for row in rows.values()}
    metadata = task.metadata
    frame = pd.DataFrame({metadata["target"]: labels})
    frame[metadata["input_type"]] = None  # structures are not needed for scores
    task.df = frame
    for number, fold in task.folds_map.items():
        wanted, rows = task.validation[fold].test, found[fold]
        if set(wanted) != rows.keys():
            n_same = len(set(wanted) & rows.keys())
            msg = (
                f"{task.dataset_name}, {fold}: {n_same} of {len(wanted)} test rows are "
                "those of MatBench; its folds are made by 'method: random' without "
                "options that concern them, of its own file"
            )
            raise DataError(msg)
        values = [rows[name].prediction for name in wanted]
        conditions = folds[fold]
        task.record(number, values, params={"job": str(conditions)})


def _tested(folder: Path) -> dict[str, Prediction]:
    rows = [r for r in read_predictions(folder / PREDICTIONS) if r.part == OOD_TEST]
    if len(names := {row.property for row in rows}) > 1:
        msg = f"has several properties ({', '.join(sorted(names))}), MatBench one"
        raise DataError(msg, path=folder)
    return {row.id: row for row in rows}
