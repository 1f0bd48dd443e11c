"""Worker processes that survive the death of one of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from threading import Thread

from ase import Atoms
from joblib import cpu_count, effective_n_jobs

from mftscreen.errors import WorkerError
from mftscreen.screen.work.cluster import Cluster, Results
from mftscreen.screen.work.evaluation import EvaluationSettings, evaluate
from mftscreen.screen.work.outcome import Outcome
from mftscreen.structures import shown_formula

__all__ = ["Chunk", "Workers"]

_DIED = "worker_died"

_ATTEMPTS = 2
"""How often a chunk of structures is evaluated before each of them is, alone."""


@dataclass
class Chunk:
    """Structures under evaluation, which one worker gets together.

    Attributes
    ----------
    structures : list of Atoms
    future : Future or None
        None if they are evaluated in this process, when the results are asked for.
    pool : Executor or None
        What the future runs in, on this machine.
    suspect : bool
        Whether it is kept out of this process, which it may end.
    """

    structures: list[Atoms]
    future: Future[Results] | None = None
    pool: Executor | None = None
    suspect: bool = False


class Workers:
    """Evaluate structures in this process, in others, or on a Dask cluster.

    Processes of this machine are joblib's loky workers. (joblib's ``Parallel`` would
    read all candidates ahead.)

    Parameters
    ----------
    settings : EvaluationSettings
        For a cluster, with `sha256`.
    n_jobs : int, default 1
        Processes, as joblib counts them: 1 works in this process, -1 in as many as
        there are cores. The cores are shared out among the processes' threads.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:port``; then `n_jobs` does not count.

    Raises
    ------
    WorkerError
        If the scheduler cannot be reached or Dask is not installed; later, if workers
        cannot be had or are of no use.
    ValueError
        If `n_jobs` is 0.
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        n_jobs: int = 1,
        scheduler: str | None = None,
    ) -> None:
        self._evaluate = partial(evaluate, settings)
        self._n_processes: int = effective_n_jobs(n_jobs)
        self._make_pool = partial(_make_processes, self._n_processes)
        self._cluster = None if scheduler is None else Cluster(scheduler, settings)
        self._pool: Executor | None = None
        if self._cluster is None and self._n_processes > 1:
            self._pool = self._make_pool()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._cluster is not None:
            self._cluster.close()
        elif self._pool is not None:
            _end_processes(self._pool, kill=kind is not None)

    @property
    def in_process(self) -> bool:
        """Whether structures are evaluated in this process, but for suspects."""
        return self._cluster is None and self._n_processes == 1

    @property
    def n_workers(self) -> int:
        """Processes there are at the moment: those of a cluster come and go."""
        if self._cluster is None:
            return self._n_processes
        return max(1, self._cluster.n_workers)

    def submit(self, structures: Sequence[Atoms], *, suspect: bool = False) -> Chunk:
        """Start the evaluation of structures.

        Parameters
        ----------
        structures : sequence of Atoms
        suspect : bool, default False
            Whether one of them may end the process that evaluates it.

        Returns
        -------
        Chunk
        """
        chunk = Chunk(list(structures), suspect=suspect)
        if chunk.structures and not self.in_process:
            self._start(chunk)
        return chunk

    def results(self, chunk: Chunk) -> Results:
        """Return the outcomes of a chunk's structures, in order.

        If a worker died, the chunk is tried again, and at last one structure at a time;
        the outcome of what kills workers then has the status ``worker_died``. The
        others are evaluated together once more, since numbers depend on the batch in
        their last digits: they are not to depend on who died when. Should that die too,
        it is done in halves, and only then may the last digits differ.
        """
        if not chunk.structures:
            return []
        if self.in_process and not chunk.suspect:
            return self._evaluate(chunk.structures)
        for _ in range(_ATTEMPTS):
            found = self._wait(chunk)
            if found is not None:
                return found
            chunk.future = None
        return self._one_by_one(chunk.structures)

    def _one_by_one(self, structures: list[Atoms]) -> Results:
        results: Results = []
        for atoms in structures:
            results += self._wait(Chunk([atoms])) or [_died(atoms)]
        alive = [k for k, (outcome, _) in enumerate(results) if outcome.status != _DIED]
        together = self._together(
            [structures[k] for k in alive], [results[k] for k in alive]
        )
        for k, result in zip(alive, together, strict=True):
            results[k] = result
        return results

    def _together(self, structures: list[Atoms], alone: Results) -> Results:
        """Evaluate structures in one batch, or in halves of it if that dies.

        Those that are left alone keep their results of `alone`.
        """
        if len(structures) < 2:
            return alone
        found = self._wait(Chunk(structures))
        if found is not None:
            return found
        half = len(structures) // 2
        first = self._together(structures[:half], alone[:half])
        return first + self._together(structures[half:], alone[half:])

    def _wait(self, chunk: Chunk) -> Results | None:
        """Return the outcomes of a chunk, started if it is not; None if it died."""
        if chunk.future is None:
            self._start(chunk)
        assert chunk.future is not None
        if self._cluster is not None:
            return self._cluster.result(chunk.future, chunk.structures)
        try:
            return chunk.future.result()
        except BrokenExecutor:
            self._replace_pool(chunk)
            return None

    def _start(self, chunk: Chunk) -> None:
        if self._cluster is not None:
            chunk.future = self._cluster.submit(chunk.structures)
            return
        if self._pool is None:
            self._pool = self._make_pool()
        try:
            chunk.future = self._pool.submit(self._evaluate, chunk.structures)
        except BrokenExecutor:
            self._pool = self._make_pool()
            chunk.future = self._pool.submit(self._evaluate, chunk.structures)
        chunk.pool = self._pool

    def _replace_pool(self, chunk: Chunk) -> None:
        """Make a new pool, unless that has happened since the chunk was started."""
        if chunk.pool is self._pool:
            assert self._pool is not None
            _end_processes(self._pool, kill=True)
            self._pool = self._make_pool()
            try:
                self._pool.submit(os.getpid).result()
            except BrokenExecutor as error:
                msg = f"worker processes die when they start: {error}"
                raise WorkerError(msg) from error


def _died(atoms: Atoms) -> tuple[Outcome, Atoms]:
    reason = "the worker process that evaluated it died, perhaps out of memory"
    return Outcome(_DIED, reason, shown_formula(atoms)), atoms


def _make_processes(n_workers: int) -> Executor:
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.backend import resource_tracker as joblib_tracker

    environment = {_SAFE_PATH: "1"}
    if n_workers > 1:
        threads = str(max(1, cpu_count() // n_workers))
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment |= dict.fromkeys(names, threads)
    # processes that they share, and that start with the first of them
    with _safe_path():
        joblib_tracker.ensure_running()
        resource_tracker.ensure_running()
    pool: Executor = ProcessPoolExecutor(
        n_workers,
        env=environment,
        initializer=_begin,
        # asked for there, it could be that of who adopts it: the parent may be gone
        initargs=(os.getpid(), os.environ.get(_SAFE_PATH)),
    )
    return pool


_SAFE_PATH = "PYTHONSAFEPATH"
"""Keeps a ``select.py`` in the current folder from being taken for Python's own when a
process starts; that has the paths of its parent soon after."""


@contextmanager
def _safe_path() -> Iterator[None]:
    """Set the variable in this process, and restore it.

    The resource trackers take no environment but that of the process that starts them;
    the pool's own goes to its workers only.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        _restore_safe_path(before)


def _restore_safe_path(before: str | None) -> None:
    if before is None:
        os.environ.pop(_SAFE_PATH, None)
    else:
        os.environ[_SAFE_PATH] = before


def _begin(parent: int, safe_path: str | None) -> None:
    """Make a worker: with the environment of its parent, and an end with it."""
    _restore_safe_path(safe_path)
    _end_with_parent(parent)


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
