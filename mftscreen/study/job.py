"""One job of a study: trained once, its result written when all is done."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mftscreen import __version__
from mftscreen.errors import DataError, WorkerError
from mftscreen.finetune.run.launch import INPUT
from mftscreen.finetune.task.partition import ID_TEST, OOD_TEST
from mftscreen.finetune.tune import finetune
from mftscreen.locks import try_lock
from mftscreen.metrics import TITLES, main_error
from mftscreen.model.files.registry import MODEL
from mftscreen.study.plan import Conditions, Job
from mftscreen.writing import output_file

__all__ = [
    "FAILURE",
    "LOG",
    "PLAN",
    "JobResult",
    "PropertyResult",
    "has_leftovers",
    "read_result",
    "run_job",
]

PLAN = "study.json"
"""In the folder of a study: its jobs."""
RESULT, FAILURE = "result.json", "failure.txt"
LOCK, LOG = ".job.lock", "job.log"
LOCK_SECONDS = 30.0  # a process whose study was killed has to stop its trainer first
_LEFTOVERS = (INPUT, "data", "pretrained.pt", "model.ckpt*", "checkpoint", "*.traj")
"""What only a training that goes on needs."""
_KEPT = (LOCK, LOG)


@dataclass(frozen=True)
class PropertyResult:
    """What a job came to, for one property.

    Attributes
    ----------
    property, unit : str
    n_train : int
        Rows it was trained on.
    metrics : mapping of str to mapping of str to float
        Part (``validation``, ``id``, ``ood``) to metric to value. The test of a fold of
        random rows is ``id``.
    drift : mapping of str to float
        As :class:`mftscreen.finetune.compare.verdict.Result` has it, if the study asks
        for collapse reports.
    """

    property: str
    unit: str
    n_train: int
    metrics: Mapping[str, Mapping[str, float]]
    drift: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """What a job came to.

    Attributes
    ----------
    conditions : Conditions
    fingerprint : str
        Of the job.
    properties : tuple of PropertyResult
    seconds : float
        From the last start to the end.
    version : str
        Of mftscreen.
    """

    conditions: Conditions
    fingerprint: str
    properties: tuple[PropertyResult, ...]
    seconds: float
    version: str = __version__

    def __str__(self) -> str:
        errors = [
            f"{found.property} {part} {TITLES[error]} {metrics[error]:.4g}"
            for found in self.properties
            for part, metrics in found.metrics.items()
            if part in (ID_TEST, OOD_TEST)
            for error in (main_error(metrics),)
        ]
        return ", ".join([*errors, f"{self.seconds:.0f} s"])


def run_job(job: Job, directory: Path, *, threads: int | None = None) -> JobResult:
    """Train the model of a job, or go on with it, and write its result.

    Parameters
    ----------
    job : Job
    directory : Path
        Of the study.
    threads : int, optional
        CPU threads for training; all cores by default.

    Returns
    -------
    JobResult
        At once if the job has been finished before.

    Raises
    ------
    WorkerError
        If another process is at the job.
    ConfigError, DataError, ModelError, TrainingError
        See :func:`mftscreen.finetune.tune.finetune`; or if its folder cannot be locked.
    OSError
        If its folder cannot be written.
    """
    folder = directory / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        found = read_result(directory, job.folder, job.fingerprint)
        if found is None:
            _clear_if_spent(job, folder)
            (folder / FAILURE).unlink(missing_ok=True)  # of the last attempt
            found = _train(job, folder, threads)
            # what makes the job a finished one
            with output_file(folder / RESULT) as partial:
                partial.write_text(json.dumps(asdict(found)), encoding="utf-8")
        _drop_leftovers(folder)
    return found


def read_result(directory: Path, folder: Path, fingerprint: str) -> JobResult | None:
    """Return the result of a job if it is finished.

    Parameters
    ----------
    directory : Path
        Of the study.
    folder : Path
        Of the job, relative to it.
    fingerprint : str
        Of the job.

    Returns
    -------
    JobResult or None
        None if there is none, or one of another configuration.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = directory / folder / RESULT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["fingerprint"] != fingerprint:
            return None
        conditions = Conditions(**document.pop("conditions"))
        properties = tuple(PropertyResult(**p) for p in document.pop("properties"))
        return JobResult(conditions, properties=properties, **document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"is not the result of a job: {error}; remove it, and the job runs again"
        raise DataError(msg, path=path) from error


def _train(job: Job, folder: Path, threads: int | None) -> JobResult:
    begin = time.monotonic()
    trained = finetune(
        job.config,
        folder,
        resume=True,
        threads=threads,
        collapse_report=job.collapse_report,
    )
    drift = {} if trained.collapse is None else trained.collapse.numbers
    renamed = _renamed if job.conditions.in_distribution else dict
    properties = tuple(
        PropertyResult(
            name, head.spec.unit, head.n_train, renamed(head.metrics), renamed(drift)
        )
        for name, head in trained.card.properties.items()
    )
    seconds = time.monotonic() - begin
    return JobResult(job.conditions, job.fingerprint, properties, seconds)


def _renamed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Call the test of a fold of random rows what it is."""
    names = {OOD_TEST: ID_TEST, f"w1_{OOD_TEST}": f"w1_{ID_TEST}"}
    return {names.get(name, name): value for name, value in numbers.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a job; it ends with the process."""
    with (folder / LOCK).open("ab") as stream:
        deadline = time.monotonic() + LOCK_SECONDS
        while not try_lock(stream, folder):
            if time.monotonic() > deadline:
                msg = f"the job in {folder} is locked"
                raise WorkerError(msg)
            time.sleep(0.2)
        yield


def has_leftovers(folder: Path) -> bool:
    """Whether a job holds what only a training that goes on needs.

    Parameters
    ----------
    folder : Path
        Of the job.
    """
    return any(any(folder.glob(pattern)) for pattern in _LEFTOVERS)


def _drop_leftovers(folder: Path) -> None:
    for pattern in _LEFTOVERS:
        _remove(folder.glob(pattern))


def _clear_if_spent(job: Job, folder: Path) -> None:
    """Let a training begin anew where its result is gone, and with it what it needs."""
    left = [path for path in folder.iterdir() if path.name not in _KEPT]
    names = {path.name for path in left}
    if job.config.plan.trains and MODEL in names and INPUT not in names:
        # the model last, by which it is known that all has to go
        _remove(sorted(left, key=lambda path: path.name == MODEL))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
