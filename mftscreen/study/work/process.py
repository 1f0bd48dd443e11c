"""A process that does jobs: ``python -m mftscreen.study.work.process``.

It reads a line of JSON for each job from its standard input and answers each with a
line on its standard output. When the input ends, it ends, too: at once, if the study
was killed in the middle of a job, and with the trainer that it started.
"""

from __future__ import annotations

import _thread
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mftscreen.study.work.outcome import Outcome

__all__ = ["main"]

STOP_SECONDS = 30.0
"""Given to a trainer to end."""


def main() -> None:
    """Do jobs until there are no more."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    # what libraries print is not to be taken for an answer
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    busy = threading.Event()
    try:
        threading.Thread(target=_listen, args=(lines, busy), daemon=True).start()
        while line := lines.get():
            outcome = _do(line)
            busy.clear()  # before the answer, after which the input may end
            answers.write(json.dumps(asdict(outcome)) + "\n")
            answers.flush()
    except KeyboardInterrupt:
        sys.exit(130)


def _listen(lines: queue.SimpleQueue[str], busy: threading.Event) -> None:
    for line in sys.stdin:
        busy.set()  # at once: the input may end before the line is looked at
        lines.put(line)
    lines.put("")
    if busy.is_set():
        _thread.interrupt_main()  # which stops a trainer
        time.sleep(STOP_SECONDS)
        os._exit(1)


def _do(line: str) -> Outcome:
    from mftscreen.study.job import LOG
    from mftscreen.study.plan import Job
    from mftscreen.study.work.outcome import Outcome, attempt

    request = json.loads(line)
    try:
        job, directory = Job.from_json(request["job"]), Path(request["directory"])
        folder = directory / job.folder
        folder.mkdir(parents=True, exist_ok=True)
        with _saying_it_in(folder / LOG):
            return attempt(job, directory, request["threads"])
    except (OSError, ValueError) as error:  # a full disk; what is no job any more
        text = "".join(traceback.format_exception_only(error))
        return Outcome(" ".join(text.split()), failed=True)


@contextmanager
def _saying_it_in(path: Path) -> Iterator[None]:
    """Send standard output and error to a file."""
    before = os.dup(2)
    with path.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.dup2(before, 1)
        os.dup2(before, 2)
        os.close(before)


if __name__ == "__main__":
    main()
