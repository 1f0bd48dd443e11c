"""deepmd-kit's own trainer in a child process, watched through its learning curve."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mftscreen.errors import TrainingError
from mftscreen.finetune.lcurve import has_diverged, read_lcurve

__all__ = ["checkpoints", "train"]

INPUT, LOG, LCURVE, LOCK = "input.json", "train.log", "lcurve.out", ".lock"
POLL_SECONDS = 0.5
STOP_SECONDS = 20.0
LOCK_SECONDS = 10.0  # a trainer that was killed takes a moment to be gone


def checkpoints(directory: Path) -> dict[int, Path]:
    """Return the checkpoints of a run, by training step, in order.

    Parameters
    ----------
    directory : Path

    Returns
    -------
    dict of int to Path
    """
    found = {}
    for path in directory.glob("model.ckpt-*.pt"):
        match = re.fullmatch(r"model\.ckpt-(\d+)\.pt", path.name)
        if match and path.stat().st_size > 0:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def train(
    directory: Path,
    steps: int,
    *,
    pretrained: str | None = None,
    random_head: bool = False,
    threads: int | None = None,
    progress: bool = False,
) -> None:
    """Train in `directory`, which holds ``input.json``, until `steps` are done.

    Continues from the last readable checkpoint if there is one.

    Parameters
    ----------
    directory : Path
    steps : int
        As in ``input.json``; for the progress bar.
    pretrained : str, optional
        File name, in `directory`, of the checkpoint to start from.
    random_head : bool
        Whether a single-task run takes only the descriptor from `pretrained`.
    threads : int, optional
        Threads of the training process; all cores by default.
    progress : bool
        Whether to show a bar on stderr.

    Raises
    ------
    TrainingError
        If another trainer runs in the directory, the process fails, the loss diverges,
        or it stops short of `steps`. The message has the last lines of the log;
        checkpoints are left as they are.
    KeyboardInterrupt
        After the trainer has been stopped; the run can be resumed.
    """
    done = checkpoints(directory)
    while done and not _is_readable(done[max(done)]):
        # killed while it was written: go back to the one before
        done.pop(max(done)).unlink()
    if done and max(done) >= steps:
        return
    command = [sys.executable, "-m", "deepmd", "--pt", "train", INPUT]
    # the padding is set from the data already, and counting it again takes minutes
    command.append("--skip-neighbor-stat")
    if done:
        command += ["--restart", done[max(done)].name]
    elif pretrained is not None:
        command += ["--finetune", pretrained]
        command += ["--model-branch", "RANDOM"] if random_head else []
    log = directory / LOG
    with _lock(directory) as lock, log.open("ab") as stream:
        process = subprocess.Popen(
            command,
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
            _watch(process, directory, steps, max(done, default=0), progress)
        except BaseException:
            _stop(process)
            raise
    if process.returncode != 0:
        msg = f"training stopped with exit code {process.returncode}: {_tail(log)}"
        raise TrainingError(msg, log)
    if max(checkpoints(directory), default=0) < steps:
        msg = f"training ended before step {steps}: {_tail(log)}"
        raise TrainingError(msg, log)


@contextmanager
def _lock(directory: Path) -> Iterator[IO[bytes]]:
    """Hold the directory's lock; raise if a trainer has it."""
    with (directory / LOCK).open("ab") as stream:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _is_locked(stream):
            if time.monotonic() > deadline:
                msg = f"a training still runs in {directory}; wait for it or end it"
                raise TrainingError(msg, directory / LOG)
            time.sleep(POLL_SECONDS)
        yield stream


def _is_locked(stream: IO[bytes]) -> bool:
    """Try to lock a file, and return whether that worked."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _watch(
    process: subprocess.Popen[bytes],
    directory: Path,
    steps: int,
    start: int,
    progress: bool,
) -> None:
    from tqdm import tqdm

    bar = tqdm(
        total=steps,
        initial=start,
        unit="step",
        desc="training",
        disable=None if progress else True,
        file=sys.stderr,
    )
    with bar:
        running = True
        while running:
            running = process.poll() is None
            rows = read_lcurve(directory / LCURVE)
            if rows and rows[-1]["step"] > bar.n:
                bar.update(int(rows[-1]["step"]) - bar.n)
                bar.set_postfix(_losses(rows[-1]), refresh=True)
                if has_diverged(rows[-1]):
                    step = int(rows[-1]["step"])
                    msg = (
                        f"the loss is not finite at step {step}; lower the learning "
                        "rate or look for wrong labels"
                    )
                    raise TrainingError(msg, directory / LOG)
            if running:
                time.sleep(POLL_SECONDS)


def _losses(row: Mapping[str, float]) -> dict[str, str]:
    """Return the training errors that a person watches."""
    wanted = re.compile(r"(?:mae|rmse)(?:_f)?_trn.*")
    return {
        name.replace("_trn", ""): f"{value:.3g}"
        for name, value in row.items()
        if wanted.fullmatch(name)
    }


def _is_readable(checkpoint: Path) -> bool:
    import zipfile

    return zipfile.is_zipfile(checkpoint)


def _environment(threads: int | None) -> dict[str, str]:
    environment: dict[str, Any] = dict(os.environ)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS"):
            environment[name] = str(threads)
        environment["DP_INTER_OP_PARALLELISM_THREADS"] = "1"
    # batches are small arrays in memory: loader processes cost more than they save
    environment.setdefault("NUM_WORKERS", "0")
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


def _tail(log: Path, lines: int = 5) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in text[-lines:]) or "the log is empty"
