"""Worker processes that survive the death of one of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any

from ase import Atoms
from joblib import cpu_count, effective_n_jobs

from mftscreen.errors import MftscreenError
from mftscreen.screen.evaluation import Settings, evaluate
from mftscreen.screen.outcome import Outcome
from mftscreen.structures import reduced_formula

__all__ = ["Task", "Workers"]

Results = list[tuple[Outcome, Atoms]]

_ATTEMPTS = 2
"""Deaths that a chunk of structures is held innocent of."""


@dataclass
class Task:
    """Structures under evaluation.

    Attributes
    ----------
    structures : list of Atoms
    future : Future or None
        None if they are evaluated in this process, when the results are asked for.
    pool : Executor or None
        What the future runs in.
    """

    structures: list[Atoms]
    future: Future[Results] | None = None
    pool: Executor | None = None


class Workers:
    """Evaluate structures in this process, in others, or on a Dask cluster.

    Processes of this machine are joblib's loky workers; a Dask cluster is used through
    its own :class:`concurrent.futures.Executor`, so that there is one way to hand out
    work. (joblib's ``Parallel``, with either backend, would read all candidates ahead.)

    Parameters
    ----------
    settings : Settings
    n_jobs : int, default 1
        Processes, as joblib counts them: 1 works in this process, -1 in as many as
        there are cores. The cores are shared out among the processes' threads.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:port``; then `n_jobs` does not count.

    Raises
    ------
    MftscreenError
        If the scheduler cannot be reached or Dask is not installed.
    ValueError
        If `n_jobs` is 0.
    """

    def __init__(
        self, settings: Settings, n_jobs: int = 1, scheduler: str | None = None
    ) -> None:
        self._evaluate = partial(evaluate, settings)
        self._make_pool: Callable[[], Executor] | None = None
        self._dead: tuple[type[BaseException], ...] = (BrokenExecutor,)
        self._client: Any = None
        self._n_processes: int = effective_n_jobs(n_jobs)
        if scheduler is not None:
            self._client = _connect(scheduler)
            from distributed.scheduler import KilledWorker

            self._dead = (KilledWorker,)
            self._make_pool = partial(self._client.get_executor, pure=False)
        elif self._n_processes > 1:
            self._make_pool = partial(_make_processes, self._n_processes)
        self._pool = self._make_pool() if self._make_pool else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._client is not None:
            # what it still computes for this client is cancelled with it
            self._client.close()
        elif self._pool is not None:
            _end_processes(self._pool, kill=kind is not None)

    @property
    def n_workers(self) -> int:
        """Processes there are at the moment: those of a cluster come and go."""
        if self._client is None:
            return self._n_processes
        n_processes: int = len(self._client.nthreads())
        return max(1, n_processes)

    def submit(self, structures: Sequence[Atoms]) -> Task:
        """Start the evaluation of structures."""
        task = Task(list(structures))
        if self._pool is not None and task.structures:
            self._start(task)
        return task

    def results(self, task: Task) -> Results:
        """Return the outcomes of a task's structures, in order.

        If a worker died, the task is tried again, then in halves, until the structure
        that kills workers stands alone; its outcome has the status ``worker_died``.
        """
        if not task.structures:
            return []
        if task.future is None:
            return self._evaluate(task.structures)
        for _ in range(_ATTEMPTS):
            try:
                return self._wait(task)
            except self._dead:
                self._replace_pool(task)
                self._start(task)
        return self._in_halves(task)

    def _wait(self, task: Task) -> Results:
        assert task.future is not None
        return task.future.result()

    def _start(self, task: Task) -> None:
        assert self._pool is not None
        try:
            task.future = self._pool.submit(self._evaluate, task.structures)
        except BrokenExecutor:
            self._pool = self._make_pool() if self._make_pool else None
            assert self._pool is not None
            task.future = self._pool.submit(self._evaluate, task.structures)
        task.pool = self._pool

    def _replace_pool(self, task: Task) -> None:
        """Make a new pool, unless that has happened since the task was started."""
        if self._client is None and task.pool is self._pool and self._make_pool:
            assert self._pool is not None
            _end_processes(self._pool, kill=True)
            self._pool = self._make_pool()

    def _in_halves(self, task: Task) -> Results:
        try:
            return self._wait(task)
        except self._dead:
            self._replace_pool(task)
        if len(task.structures) == 1:
            (atoms,) = task.structures
            reason = "the worker process that evaluated it died, perhaps out of memory"
            return [(Outcome("worker_died", reason, reduced_formula(atoms)), atoms)]
        middle = len(task.structures) // 2
        results: Results = []
        for part in (task.structures[:middle], task.structures[middle:]):
            half = Task(part)
            self._start(half)
            results += self._in_halves(half)
        return results


def _make_processes(n_workers: int) -> Executor:
    from joblib.externals.loky import ProcessPoolExecutor

    threads = str(max(1, cpu_count() // n_workers))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    pool: Executor = ProcessPoolExecutor(
        n_workers,
        env=dict.fromkeys(names, threads),
        initializer=_end_with_parent,
        # asked for there, it could be that of who adopts it: the parent may be gone
        initargs=(os.getpid(),),
    )
    return pool


def _end_with_parent(parent: int) -> None:
    """Let this process end when its parent is killed, and not finish its chunk."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _end_processes(pool: Executor, *, kill: bool) -> None:
    # loky's own argument: without it, an interrupted screening would end its chunks
    pool.shutdown(wait=True, kill_workers=kill)  # type: ignore[call-arg]


def _connect(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        msg = "a Dask cluster needs Dask: pip install 'mftscreen[dask]'"
        raise MftscreenError(msg) from None
    try:
        return Client(scheduler, timeout=20)
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {scheduler}: {error}"
        raise MftscreenError(msg) from error
