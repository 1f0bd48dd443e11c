"""Processes of this machine that do the jobs of a study, and outlive none of them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path

from joblib import cpu_count, effective_n_jobs

from mftscreen.study.plan import Job
from mftscreen.study.work.outcome import Outcome, fail
from mftscreen.threads import wait_politely

__all__ = ["do_jobs"]

_COMMAND = [sys.executable, "-P", "-m", "mftscreen.study.work.process"]


def do_jobs(
    jobs: Sequence[Job],
    directory: Path,
    *,
    n_jobs: int = 1,
    threads: int | None = None,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Do jobs in other processes and yield each when it has ended.

    Parameters
    ----------
    jobs : sequence of Job
    directory : Path
        Of the study.
    n_jobs : int, default 1
        Processes, as joblib counts them: -1 for one for each core.
    threads : int, optional
        Of each process; by default the cores are shared out among them.

    Yields
    ------
    Job, Outcome

    Notes
    -----
    GPUs that are there are shared out among the processes, as many to each as its
    trainings take. A process that dies is replaced, and its job has failed.
    """
    n_processes = min(effective_n_jobs(n_jobs), len(jobs))
    if n_processes == 0:
        return
    threads = threads or max(1, cpu_count() // n_processes)
    n_gpus = max(job.n_gpus for job in jobs)
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    ended: queue.SimpleQueue[tuple[Job, Outcome] | BaseException] = queue.SimpleQueue()
    workers = [
        _Worker(directory, threads, _visible_gpus(number, n_gpus))
        for number in range(n_processes)
    ]
    watchers = [
        threading.Thread(target=_work, args=(worker, waiting, ended), daemon=True)
        for worker in workers
    ]
    for thread in watchers:
        thread.start()
    try:
        for _ in jobs:
            outcome = ended.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    finally:
        for worker in workers:
            worker.leave()
        for thread in watchers:
            thread.join()


def _work(
    worker: _Worker,
    waiting: queue.SimpleQueue[Job],
    ended: queue.SimpleQueue[tuple[Job, Outcome] | BaseException],
) -> None:
    try:
        while not worker.is_leaving:
            job = waiting.get_nowait()
            ended.put((job, worker.do(job)))
    except queue.Empty:
        return
    except Exception as error:  # noqa: BLE001  raised where the outcomes are awaited
        ended.put(error)
    finally:
        worker.stop()


class _Worker:
    """A process that does one job after the other; started when there is one."""

    def __init__(self, directory: Path, threads: int, gpus: str | None) -> None:
        self._directory = directory
        self._threads = threads
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        wait_politely(self._environment)
        if gpus is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = gpus
        self._process: subprocess.Popen[str] | None = None
        self.is_leaving = False

    def do(self, job: Job) -> Outcome:
        process = self._process
        if process is None:
            process = self._process = self._start()
            if self.is_leaving:  # since it was looked at last
                self.leave()
        assert process.stdin is not None
        assert process.stdout is not None
        request = {
            "job": job.to_json(),
            "directory": str(self._directory),
            "threads": self._threads,
        }
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (BrokenPipeError, ValueError):  # it has died, or is to leave
            answer = ""
        if not answer:
            text = _death(self.stop())
            if self.is_leaving:  # it was interrupted
                return Outcome(text, failed=True)
            return fail(job, self._directory, text)
        return Outcome(**json.loads(answer))

    def leave(self) -> None:
        """Let the process end; in the middle of a job, it stops its trainer first."""
        self.is_leaving = True
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):  # it may have gone with a job unread
                process.stdin.close()

    def stop(self) -> int:
        """Wait for the end of the process; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return process.wait()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            encoding="utf-8",
            # Ctrl-C is for this process, which then ends the others in order
            start_new_session=True,
        )


def _death(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}, perhaps for lack of memory"
    return f"its process ended with exit code {code}"


def _visible_gpus(number: int, n_gpus: int) -> str | None:
    """Return the GPUs of a process, as CUDA_VISIBLE_DEVICES names them, if any."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        devices = [name for name in named.split(",") if name]
    else:
        import torch

        devices = [str(k) for k in range(torch.cuda.device_count())]
    if not devices:
        return None
    first = number * n_gpus
    return ",".join(
        dict.fromkeys(devices[(first + k) % len(devices)] for k in range(n_gpus))
    )
