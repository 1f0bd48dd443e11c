"""A study as a whole: planned, done job by job, and read again."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

from mftscreen.errors import DataError
from mftscreen.study.config import StudyConfig
from mftscreen.study.job import (
    FAILURE,
    PLAN,
    JobResult,
    has_leftovers,
    read_result,
)
from mftscreen.study.plan import JOBS, SPLITS, Conditions, Job, plan_jobs
from mftscreen.study.work.cluster import do_jobs_on_cluster
from mftscreen.study.work.outcome import Outcome
from mftscreen.study.work.pool import do_jobs
from mftscreen.writing import output_file

__all__ = [
    "Study",
    "check_not_of_study",
    "plan_study",
    "read_study",
    "run_jobs",
    "unfinished",
]

_FORMAT = "mftscreen study 1"


class _Plan(TypedDict):
    """What the file of a plan says."""

    name: str
    published: str | None
    jobs: list[tuple[Conditions, str, Path]]


@dataclass(frozen=True)
class Study:
    """The jobs of a study and what those that are finished came to.

    Attributes
    ----------
    name : str
    published : str or None
        Table to show beside.
    results : tuple of JobResult
        In the order of the plan.
    missing : tuple of Conditions
        Jobs without a result.
    failures : mapping of Conditions to str
        Why those of them failed that did.
    folders : mapping of Conditions to Path
        Of the finished jobs.
    """

    name: str
    published: str | None
    results: tuple[JobResult, ...]
    missing: tuple[Conditions, ...]
    failures: dict[Conditions, str]
    folders: dict[Conditions, Path]

    def only(self, wanted: Mapping[str, Collection[str]]) -> Study:
        """Return the part of the study that has some conditions.

        Parameters
        ----------
        wanted : mapping of str to collection of str
            Name of a condition to its values, as text.

        Raises
        ------
        DataError
            If there is no such job, or none with one of the values.
        """
        kept = set(_fitting((*self.folders, *self.missing), wanted, self.name))
        return replace(
            self,
            results=tuple(r for r in self.results if r.conditions in kept),
            missing=tuple(c for c in self.missing if c in kept),
            failures={c: why for c, why in self.failures.items() if c in kept},
            folders={c: path for c, path in self.folders.items() if c in kept},
        )


def _fitting(
    planned: Iterable[Conditions], wanted: Mapping[str, Collection[str]], name: str
) -> list[Conditions]:
    planned = list(planned)
    wanted = {
        key: [value for text in sorted(texts) for value in _values(planned, key, text)]
        for key, texts in wanted.items()
    }
    for key, texts in wanted.items():
        for text in texts:
            if not any(conditions.fit({key: [text]}) for conditions in planned):
                msg = f"study {name} has no job with {key}={text}"
                raise DataError(msg)
    found = [conditions for conditions in planned if conditions.fit(wanted)]
    if wanted and not found:
        listed = ", ".join(f"{k}={','.join(wanted[k])}" for k in wanted)
        msg = f"study {name} has no job with {listed}"
        raise DataError(msg)
    return found


def _values(planned: Sequence[Conditions], key: str, text: str) -> list[str]:
    """Return the values that a text lists, or the one, with commas, that it is."""
    if any(conditions.fit({key: [text]}) for conditions in planned):
        return [text]
    return [value.strip() for value in text.split(",")]


def plan_study(
    study: StudyConfig,
    directory: Path,
    wanted: Mapping[str, Collection[str]] | None = None,
    *,
    write: bool = True,
) -> list[Job]:
    """Plan a study, and write the plan into its folder.

    Parameters
    ----------
    study : StudyConfig
    directory : Path
        Of the study.
    wanted : mapping of str to collection of str, optional
        Name of a condition to its values, as text.
    write : bool, default True
        If False, a plan that is there stays as it is.

    Returns
    -------
    list of Job
        Those wanted; all are in the plan.

    Raises
    ------
    ConfigError, ModelError
        See :func:`mftscreen.study.plan.plan_jobs`.
    DataError
        See there; or if the folder is that of another study, or no job has one of the
        values or all conditions that are wanted.
    """
    _check_folder(study, directory)
    jobs = plan_jobs(study, directory)
    planned = [job.conditions for job in jobs]
    kept = set(_fitting(planned, wanted or {}, study.name))
    chosen = [job for job in jobs if job.conditions in kept]
    if not write:
        return chosen
    document = {
        "format": _FORMAT,
        "name": study.name,
        "description": study.description,
        "published": study.published,
        "jobs": [
            {
                "conditions": asdict(job.conditions),
                "fingerprint": job.fingerprint,
                "folder": job.folder.as_posix(),
            }
            for job in jobs
        ],
    }
    directory.mkdir(parents=True, exist_ok=True)
    with output_file(directory / PLAN) as partial:
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return chosen


def _check_folder(study: StudyConfig, directory: Path) -> None:
    path = directory / PLAN
    if not path.exists():
        return
    name = _read_plan(path)["name"]
    if name != study.name:
        msg = (
            f"is the plan of study {name!r}, not of {study.name!r}, whose table would "
            "lose what is there: choose another folder"
        )
        raise DataError(msg, path=path)


def unfinished(jobs: Sequence[Job], directory: Path) -> list[Job]:
    """Return the jobs that have no result yet, or were ended while tidying up.

    Parameters
    ----------
    jobs : sequence of Job
    directory : Path
        Of the study.
    """
    return [
        job
        for job in jobs
        if read_result(directory, job.folder, job.fingerprint) is None
        or has_leftovers(directory / job.folder)
    ]


def run_jobs(
    jobs: Sequence[Job],
    directory: Path,
    *,
    n_jobs: int = 1,
    threads: int | None = None,
    scheduler: str | None = None,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Do jobs and yield each when it has ended.

    Parameters
    ----------
    jobs : sequence of Job
    directory : Path
        Of the study.
    n_jobs, threads
        See :func:`mftscreen.study.work.pool.do_jobs`.
    scheduler : str, optional
        Address of a Dask scheduler to use instead of processes; see
        :func:`mftscreen.study.work.cluster.do_jobs_on_cluster`.

    Yields
    ------
    Job, Outcome
        Close the generator to leave the rest; what is begun is interrupted, but for
        what the workers of a scheduler are at, which they finish.
    """
    folder = directory.resolve()
    if scheduler is None:
        return do_jobs(jobs, folder, n_jobs=n_jobs, threads=threads)
    return do_jobs_on_cluster(jobs, folder, scheduler, threads=threads)


def check_not_of_study(path: Path, directory: Path) -> None:
    """Raise if what is written would take the place of what a study needs.

    Parameters
    ----------
    path : Path
        File or folder that is to be written.
    directory : Path
        Of the study.

    Raises
    ------
    DataError
        If it is the plan, or lies in the folder of jobs or that of splits.
    """
    for name in (PLAN, JOBS, SPLITS):
        if path.resolve().is_relative_to((directory / name).resolve()):
            msg = f"belongs to the study in {directory}; choose another output"
            raise DataError(msg, path=path)


def read_study(directory: Path) -> Study:
    """Return what is there of a study.

    Parameters
    ----------
    directory : Path

    Returns
    -------
    Study

    Raises
    ------
    DataError
        If the folder holds no study, or a file in it cannot be read.
    """
    plan = _read_plan(directory / PLAN)
    results, missing, failures, folders = [], [], {}, {}
    for conditions, fingerprint, folder in plan["jobs"]:
        found = read_result(directory, folder, fingerprint)
        if found is not None:
            # one training may be that of several conditions
            results.append(replace(found, conditions=conditions))
            folders[conditions] = directory / folder
            continue
        missing.append(conditions)
        if (failure := directory / folder / FAILURE).exists():
            failures[conditions] = failure.read_text(encoding="utf-8").strip()
    return Study(
        plan["name"],
        plan["published"],
        tuple(results),
        tuple(missing),
        failures,
        folders,
    )


def _read_plan(path: Path) -> _Plan:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        planned = [
            (Conditions(**job["conditions"]), job["fingerprint"], Path(job["folder"]))
            for job in document["jobs"]
        ]
        return _Plan(
            name=document["name"], published=document["published"], jobs=planned
        )
    except FileNotFoundError as error:
        msg = (
            f"no such file; 'mftscreen study run STUDY.yaml -o {path.parent}' writes it"
        )
        raise DataError(msg, path=path) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"is not the plan of a study: {error}"
        raise DataError(msg, path=path) from error
