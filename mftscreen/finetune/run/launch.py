"""The process that trains, watched through its learning curve and its checkpoints."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mftscreen.errors import TrainingError
from mftscreen.finetune.run.lcurve import has_diverged, read_lcurve
from mftscreen.finetune.run.progress import TrainingProgress
from mftscreen.finetune.run.select import Selection, checkpoints, is_readable
from mftscreen.finetune.trainer.heartbeat import forget_steps, read_steps
from mftscreen.locks import try_lock
from mftscreen.threads import wait_politely

__all__ = ["build_command", "train"]

INPUT, LOG, LCURVE, LOCK = "input.json", "train.log", "lcurve.out", ".lock"
POLL_SECONDS = 0.5
STOP_SECONDS = 20.0
N_REASON, N_TAIL = 60, 5
"""Last lines of the log in which a reason is looked for, and that are shown."""
REMEDY = "lower the learning rate or look for wrong labels"
LOCK_SECONDS = 10.0  # a trainer that was killed takes a moment to be gone


def build_command(
    start: Sequence[str] = (), n_gpus: int = 1, python: str = sys.executable
) -> list[str]:
    """Return the command that trains in its working directory.

    Parameters
    ----------
    start : sequence of str, optional
        deepmd-kit's options that say what to start from.
    n_gpus : int, optional
        Above 1, that many processes are started by torchrun.
    python : str, optional
        The interpreter.

    Returns
    -------
    list of str

    Examples
    --------
    >>> build_command(["--restart", "model.ckpt-500.pt"], python="python")
    ['python', '-m', 'mftscreen.finetune.trainer.process', 'input.json',
     '--skip-neighbor-stat', '--restart', 'model.ckpt-500.pt']
    >>> build_command(n_gpus=4, python="python")[:5]
    ['python', '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=4']
    """
    command = [python]
    if n_gpus > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={n_gpus}"]
    command += ["-m", "mftscreen.finetune.trainer.process", INPUT]
    # the padding is set from the data already, and counting it again takes minutes
    return [*command, "--skip-neighbor-stat", *start]


def train(
    directory: Path,
    steps: int,
    selection: Selection,
    *,
    save_every: int | None = None,
    pretrained: str | None = None,
    every_head: bool = False,
    n_gpus: int = 1,
    threads: int | None = None,
    progress: bool = False,
) -> None:
    """Train in `directory`, which holds ``input.json``, until `steps` are done.

    Continues from the last readable checkpoint if there is one. Checkpoints are
    validated as they appear, by this process on one thread, while training goes on.

    Parameters
    ----------
    directory : Path
    steps : int
        As in ``input.json``.
    selection : Selection
        Ends the run before `steps` when its patience is exhausted.
    save_every : int, optional
        Steps between checkpoints, as in ``input.json``; by default there is only one.
    pretrained : str, optional
        File name, in `directory`, of the checkpoint to start from.
    every_head : bool, default False
        Whether all heads start from it, rather than those that ``input.json`` names.
    n_gpus : int, optional
        Training processes.
    threads : int, optional
        Threads of a training process; all cores by default.
    progress : bool
        Whether to show a bar on stderr or, if that is no terminal, a line a minute.

    Raises
    ------
    TrainingError
        If GPUs are missing, another trainer runs in the directory, the process fails,
        a loss diverges or is exactly 0, a checkpoint cannot be written, or training
        stops short of `steps`. The message has the reason; checkpoints are left as they
        are.
    KeyboardInterrupt
        After the trainer has been stopped; the run can be resumed.
    """
    log = directory / LOG
    _check_gpus(n_gpus)
    with _lock(directory) as lock:
        done = selection.rewind()
        # a checkpoint that the trainer wrote after its end would begin it again
        if selection.is_exhausted:
            return
        selection.update()
        if done >= steps or selection.is_exhausted:
            return
        start: list[str] = []
        if done:
            start = ["--restart", checkpoints(directory)[done].name]
        elif pretrained is not None:
            start = ["--init-model" if every_head else "--finetune", pretrained]
        forget_steps(directory)
        with log.open("ab") as stream:
            begin = stream.tell()  # what stands before is of the runs before
            process = subprocess.Popen(
                build_command(start, n_gpus),
                cwd=directory,
                env=_environment(threads),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # inherited, so that a trainer that outlives this process keeps it
                pass_fds=(lock.fileno(),),
            )
        try:
            lock.write(str(process.pid).encode())
            lock.flush()
            with TrainingProgress(
                selection, steps, done, save_every or steps, shown=progress
            ) as shown:
                _watch(process, selection, shown, done)
        finally:
            _stop(process)
            forget_steps(directory)
    if not selection.is_exhausted:
        _check_end(process, directory, steps, begin)


def _check_gpus(n_gpus: int) -> None:
    """Raise if there are fewer than are asked for."""
    if n_gpus == 1:
        return
    import torch

    if torch.cuda.device_count() < n_gpus:
        msg = (
            f"training.n_gpus is {n_gpus}, and {torch.cuda.device_count()} GPUs can be "
            "seen; with 1, a GPU is used if there is one"
        )
        raise TrainingError(msg)


def _check_end(
    process: subprocess.Popen[bytes], directory: Path, steps: int, begin: int
) -> None:
    """Raise with the reason if training did not get to its last step.

    The reason stands in the log from the byte `begin` on.
    """
    log = directory / LOG
    saved = checkpoints(directory)
    if saved and not is_readable(saved[max(saved)]):
        step, path = saved.popitem()
        path.unlink()
        free = shutil.disk_usage(directory).free / 1e6
        last = f"step {max(saved)}" if saved else "the beginning"
        msg = (
            f"the checkpoint of step {step} could not be written in {directory} "
            f"({free:.0f} MB free); make room and go on from {last} with --resume"
        )
        raise TrainingError(msg, log)
    if process.returncode != 0:
        reason = _reason(log, begin)
        msg = f"training stopped with exit code {process.returncode}: {reason}"
        raise TrainingError(msg, log)
    if max(saved, default=0) < steps:
        msg = f"training ended before step {steps}: {_reason(log, begin)}"
        raise TrainingError(msg, log)


@contextmanager
def _lock(directory: Path) -> Iterator[IO[bytes]]:
    """Hold the directory's lock; raise if a trainer has it."""
    with (directory / LOCK).open("ab") as stream:
        deadline = time.monotonic() + LOCK_SECONDS
        while not try_lock(stream, directory):
            if time.monotonic() > deadline:
                trainer = (directory / LOCK).read_text() or "not started yet"
                msg = (
                    f"a training still runs in {directory} (process {trainer}): a "
                    "trainer outlives a command that was killed; wait for it or end it"
                )
                raise TrainingError(msg, directory / LOG)
            time.sleep(POLL_SECONDS)
        stream.truncate(0)  # of the process of a run that has ended
        yield stream


def _watch(
    process: subprocess.Popen[bytes],
    selection: Selection,
    progress: TrainingProgress,
    start: int,
) -> None:
    """Follow the trainer until it ends or has no more to gain."""
    directory = selection.directory
    running = True
    while running and not selection.is_exhausted:
        running = process.poll() is None
        progress.validate()
        row = next(reversed(read_lcurve(directory / LCURVE)), None)
        step = start if row is None else int(row["step"])
        # the trainer does not tell when its last step is done; rows may be older
        progress.show((running and read_steps(directory)) or step, row)
        if step > start and row is not None and has_diverged(row):
            msg = f"the loss is not finite at step {step}; {REMEDY}"
            raise TrainingError(msg, directory / LOG)
        if running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)


def _environment(threads: int | None) -> dict[str, str]:
    environment: dict[str, Any] = dict(os.environ)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS"):
            environment[name] = str(threads)
        environment["DP_INTER_OP_PARALLELISM_THREADS"] = "1"
    # batches are small arrays in memory: loader processes cost more than they save
    environment.setdefault("NUM_WORKERS", "0")
    wait_politely(environment)
    return environment


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the trainer and what it started."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(log: Path, begin: int) -> str:
    """Return why training ended: a reason we know, or the log's end."""
    with log.open("rb") as stream:
        stream.seek(begin)
        text = stream.read().decode(errors="replace").strip().splitlines()
    # torchrun says much after it, and torch names the process in front of it
    for line in reversed(text[-N_REASON:]):
        name, _, message = re.sub(r"^\[rank\d+\]: ", "", line).partition(": ")
        if name.startswith("mftscreen.errors."):
            return message
        if "NaN detected" in line or "Non-finite gradient" in line:
            return f"the loss is not finite ({message}); {REMEDY}"
    return " | ".join(line.strip() for line in text[-N_TAIL:]) or "the log is empty"
