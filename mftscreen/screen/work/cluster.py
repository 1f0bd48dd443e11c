"""Evaluation by the workers of a Dask cluster, whatever they lack."""

from __future__ import annotations

import logging
import pickle
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ase import Atoms

from mftscreen import __version__
from mftscreen.errors import MftscreenError, WorkerError
from mftscreen.screen.work.evaluation import EvaluationSettings, evaluate
from mftscreen.screen.work.outcome import Outcome

__all__ = ["Cluster", "connect", "evaluate_here", "leave"]

log = logging.getLogger(__name__)

Results = list[tuple[Outcome, Atoms]]

_EVALUATE = f"import_module({__name__!r}).evaluate_here(version, pickled)"
_VERSION = "import_module('mftscreen').__version__"
_MODULE = f"import_module({__name__!r}).__name__"
"""What workers are asked, as text: a worker that cannot unpickle what it is given, as
it lacks mftscreen, ends without a word, and the next one gets it."""

_REMEDY = "start workers in the environment of this command, or one that is equal"

_TIMEOUT = 20.0
"""Seconds to wait for a scheduler."""

_PATIENCE = 2.0
"""Seconds between two looks at whether there are workers."""


class Cluster:
    """A Dask cluster, whose workers come and go.

    Parameters
    ----------
    address : str
        Of the scheduler, ``tcp://host:port``.
    settings : EvaluationSettings
        With `sha256`. A model that a worker does not find at its path is sent to it.

    Raises
    ------
    WorkerError
        If the scheduler cannot be reached or Dask is not installed. Every method raises
        it, too, if the scheduler is lost.
    """

    def __init__(self, address: str, settings: EvaluationSettings) -> None:
        self._address = address
        self._settings = settings
        self._client = connect(address)
        self._pool = self._client.get_executor(pure=False)
        self._waiting = False
        self._sent: list[str] = []
        self._look_for_workers()

    def close(self) -> None:
        """Leave the cluster; what it still computes for this process is cancelled."""
        with suppress(WorkerError), self._reached():
            for name in self._sent:
                self._client.unregister_worker_plugin(name)
        leave(self._client)

    @property
    def n_workers(self) -> int:
        """Workers there are at the moment."""
        with self._reached():
            n_workers: int = len(self._client.nthreads())
        return n_workers

    def submit(self, structures: Sequence[Atoms]) -> Future[Results]:
        """Start the evaluation of structures."""
        given = {
            "import_module": import_module,
            "version": __version__,
            "pickled": pickle.dumps((self._settings, list(structures))),
        }
        with self._reached():
            future: Future[Results] = self._pool.submit(eval, _EVALUATE, given)
        return future

    def result(
        self, future: Future[Results], structures: Sequence[Atoms]
    ) -> Results | None:
        """Wait for outcomes; while there are no workers, say so.

        Parameters
        ----------
        future : Future
            What :meth:`submit` has returned.
        structures : sequence of Atoms
            That was started with.

        Returns
        -------
        list of (Outcome, Atoms) or None
            None if the workers that evaluated them died.

        Raises
        ------
        WorkerError
            If a worker lacks a package, has another version of mftscreen, or cannot
            load what is needed.
        """
        from distributed.scheduler import KilledWorker

        try:
            try:
                return self._wait(future)
            except _ModelAbsentError:
                self._send_models()
                return self._wait(self.submit(structures))
        except KilledWorker:
            return None
        except ImportError as error:
            raise self._find_culprit(error) from error

    def _wait(self, future: Future[Results]) -> Results:
        while not wait([future], timeout=_PATIENCE).done:
            self._look_for_workers()
        if future.cancelled():
            raise self._lost()
        return future.result()

    def _look_for_workers(self) -> None:
        """Say once that there are no workers, until there are some."""
        waiting = self.n_workers == 0
        if waiting and not self._waiting:
            log.warning(
                "Waiting for workers: the Dask scheduler at %s has none at the moment. "
                "On a Slurm cluster, 'squeue' shows where their jobs stand.",
                self._address,
            )
        self._waiting = waiting

    def _send_models(self) -> None:
        """Give the model files to all workers, also to those that come later."""
        if self._sent:
            return
        from distributed.diagnostics.plugin import UploadFile

        models = zip(self._settings.models, self._settings.sha256, strict=True)
        for source, sha256 in models:
            if Path(source).is_absolute():
                upload = UploadFile(source, load=False)
                upload.filename = _sent_name(source, sha256)
                with self._reached():
                    self._client.register_plugin(upload, name=upload.filename)
                self._sent.append(upload.filename)

    def _find_culprit(self, error: ImportError) -> WorkerError:
        """Return which worker cannot import mftscreen, and what it lacks."""
        for question, right in ((_VERSION, __version__), (_MODULE, __name__)):
            with self._reached():
                answers = self._client.run(
                    eval, question, {"import_module": import_module}, on_error="return"
                )
            for worker, answer in answers.items():
                if isinstance(answer, str) and answer != right:
                    return self._blame(worker, _other_version(answer, right))
                if isinstance(answer, ImportError):
                    return self._blame(worker, _lacks(answer))
        return WorkerError(f"a Dask worker that has gone: {_lacks(error)}")

    def _blame(self, worker: str, what: str) -> WorkerError:
        with self._reached():
            node = self._client.run(platform.node, workers=[worker])[worker]
        return WorkerError(f"the Dask worker {worker} on {node}: {what}")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Tell what it means that the scheduler does not answer."""
        from distributed.client import ClosedClientError

        if self._client.status != "running":  # it would try for half a minute
            raise self._lost()
        try:
            yield
        except (OSError, CancelledError, ClosedClientError) as error:
            raise self._lost() from error

    def _lost(self) -> WorkerError:
        return WorkerError(
            f"the Dask scheduler at {self._address} has gone, or has cancelled the "
            "work. What a --run folder holds is not lost: give the same command again, "
            "with the address of the scheduler that is there then"
        )


def evaluate_here(version: str, pickled: bytes) -> Results:
    """Evaluate structures on this worker.

    Parameters
    ----------
    version : str
        Of the mftscreen that asks.
    pickled : bytes
        EvaluationSettings and a list of Atoms.

    Returns
    -------
    list of (Outcome, Atoms)

    Raises
    ------
    WorkerError
        If it cannot; names this worker.
    """
    try:
        if version != __version__:
            raise WorkerError(_other_version(__version__, version))
        settings, structures = pickle.loads(pickled)
        return evaluate(_with_models_here(settings), structures)
    except _ModelAbsentError:
        raise
    except (ImportError, MftscreenError) as error:
        from distributed import get_worker

        what = _lacks(error) if isinstance(error, ImportError) else str(error)
        where = f"the Dask worker {get_worker().address} on {platform.node()}"
        msg = f"{where}: {what}"
        raise WorkerError(msg) from error


class _ModelAbsentError(MftscreenError):
    """A model is neither at its path nor has it been sent."""


def _with_models_here(settings: EvaluationSettings) -> EvaluationSettings:
    """Return settings with the paths that models have on this worker."""
    from distributed import get_worker

    found = []
    for source, sha256 in zip(settings.models, settings.sha256, strict=True):
        here = source
        if Path(source).is_absolute() and not Path(source).is_file():
            sent = Path(get_worker().local_directory, _sent_name(source, sha256))
            if not sent.is_file():
                msg = f"{source}: not on {platform.node()}, and could not be sent"
                raise _ModelAbsentError(msg)
            here = str(sent)
        found.append(here)
    return replace(settings, models=tuple(found))


def _sent_name(source: str, sha256: str) -> str:
    """Return the name of a model file that was sent, in the folder of the worker."""
    return sha256 + Path(source).suffix


def _other_version(there: str, here: str) -> str:
    return f"mftscreen is {there} there and {here} here; {_REMEDY}"


def _lacks(error: ImportError) -> str:
    return f"a package is missing there: {error}; {_REMEDY}"


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("distributed.client")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _tells_of_no_lost_scheduler(record: logging.LogRecord) -> bool:
    """Whether a record is of anything but a result lost with its scheduler."""
    from distributed.comm import CommClosedError

    return not (record.exc_info and isinstance(record.exc_info[1], CommClosedError))


def connect(address: str) -> Any:
    """Return a client of a Dask scheduler.

    Parameters
    ----------
    address : str
        ``tcp://host:port``.

    Raises
    ------
    WorkerError
        If the scheduler cannot be reached or Dask is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        msg = "a Dask cluster needs Dask: pip install 'mftscreen[dask]'"
        raise WorkerError(msg) from None
    # a scheduler that has gone is told of by us, without a traceback
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)
    logging.getLogger("tornado.application").addFilter(_tells_of_no_lost_scheduler)
    try:
        return Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address}: {error}"
        raise WorkerError(msg) from error


def leave(client: Any) -> None:
    """Close what :func:`connect` has returned.

    Parameters
    ----------
    client : distributed.Client
    """
    if client.status == "running":
        client.close()
        return
    with _quiet():  # an attempt to connect again that is cancelled
        client.close()
