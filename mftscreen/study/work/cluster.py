"""The workers of a Dask cluster, which do jobs in processes of their own."""

from __future__ import annotations

import logging
import platform
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from mftscreen import __version__
from mftscreen.errors import WorkerError
from mftscreen.screen.work.cluster import connect, leave
from mftscreen.study.job import PLAN
from mftscreen.study.plan import Job
from mftscreen.study.work.outcome import Outcome, fail
from mftscreen.study.work.pool import do_jobs

__all__ = ["do_jobs_on_cluster", "job_here"]

log = logging.getLogger(__name__)

_DO = f"import_module({__name__!r}).job_here(**job)"
"""As text: a worker that lacks mftscreen could not even unpickle a function of it."""


def do_jobs_on_cluster(
    jobs: Sequence[Job], directory: Path, address: str, *, threads: int | None = None
) -> Generator[tuple[Job, Outcome], None, None]:
    """Do jobs on a Dask cluster and yield each when it has ended.

    Parameters
    ----------
    jobs : sequence of Job
    directory : Path
        Of the study, on a file system that the workers share.
    address : str
        Of the scheduler, ``tcp://host:port``.
    threads : int, optional
        Of each job; by default the cores of a host are shared out among the threads of
        all its workers.

    Yields
    ------
    Job, Outcome

    Raises
    ------
    WorkerError
        If the scheduler cannot be reached, or is lost.

    Notes
    -----
    The job of a worker that dies goes to another one.
    """
    client = connect(address)  # says so if there is no Dask
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    try:
        if not client.nthreads():
            log.warning(
                "Waiting for workers: the Dask scheduler has none at the moment"
            )
        sharing = _threads_by_host(client.nthreads())
        futures = {
            client.submit(
                eval, _DO, _given(job, directory, threads, sharing), pure=False
            ): job
            for job in jobs
        }
        # without a loop it takes that of the caller's own client, if there is one
        for future in as_completed(list(futures), loop=client.loop):
            job = futures[future]
            try:
                outcome = _outcome(future)
            except KilledWorker:
                outcome = fail(job, directory, "several Dask workers died of it")
            yield job, outcome
    except (OSError, CancelledError) as error:
        msg = (
            f"the Dask scheduler at {address} has gone, or has cancelled the work; "
            "jobs that are finished are kept, and the same command goes on"
        )
        raise WorkerError(msg) from error
    finally:
        leave(client)


def _threads_by_host(workers: Mapping[str, int]) -> dict[str, int]:
    """Return the threads of the workers on each host, for those of addresses."""
    from distributed.comm import get_address_host

    found: Counter[str] = Counter()
    for address, n in workers.items():
        found[get_address_host(address)] += n
    return dict(found)


def job_here(
    job: str,
    directory: str,
    threads: int | None,
    sharing: Mapping[str, int],
    version: str,
) -> Any:
    """Do a job on this worker, in a process that ends with it.

    Parameters
    ----------
    job : str
        As :meth:`mftscreen.study.plan.Job.to_json` wrote it.
    directory : str
        Of the study.
    threads : int or None
    sharing : mapping of str to int
        Host to the threads of its workers, among which its cores are shared out.
    version : str
        Of the mftscreen that asks.

    Returns
    -------
    dict
        The fields of an :class:`mftscreen.study.work.outcome.Outcome`.
    """
    from distributed import get_worker
    from distributed.comm import get_address_host
    from joblib import cpu_count

    worker = get_worker()
    where = f"the Dask worker {worker.address} on {platform.node()}"
    if version != __version__:
        text = f"{where} has mftscreen {__version__}, this command {version}"
        return asdict(Outcome(text, failed=True))
    if not Path(directory, PLAN).exists():
        text = f"{where} cannot see the study's folder {directory}"
        return asdict(Outcome(text, failed=True))
    # a host that came later has just this worker, as far as is known
    n = sharing.get(get_address_host(worker.address), worker.state.nthreads)
    threads = threads or max(1, cpu_count() // n)
    try:
        jobs = [Job.from_json(job)]
        ((_, outcome),) = do_jobs(jobs, Path(directory), threads=threads)
    except OSError as error:  # of this worker, not of the way to it
        return asdict(Outcome(f"{where}: {error}", failed=True))
    return asdict(outcome)


def _given(
    job: Job, directory: Path, threads: int | None, sharing: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "import_module": import_module,
        "job": {
            "job": job.to_json(),
            "directory": str(directory),
            "threads": threads,
            "sharing": sharing,
            "version": __version__,
        },
    }


def _outcome(future: Any) -> Outcome:
    try:
        return Outcome(**future.result())
    except ImportError as error:
        return Outcome(f"a Dask worker lacks a package: {error}", failed=True)
