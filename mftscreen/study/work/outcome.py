"""How a job ended."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mftscreen.errors import MftscreenError, WorkerError
from mftscreen.study.job import FAILURE, run_job
from mftscreen.study.plan import Job

__all__ = ["Outcome", "attempt", "fail"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes
    ----------
    text : str
        Its errors, why it failed, or who else is at it, on one line.
    failed : bool
    """

    text: str
    failed: bool = False


def attempt(job: Job, directory: Path, threads: int | None) -> Outcome:
    """Do a job; whatever is wrong with it is its outcome, and stands in its folder.

    Parameters
    ----------
    job : Job
    directory : Path
        Of the study.
    threads : int or None

    Returns
    -------
    Outcome
    """
    try:
        return Outcome(str(run_job(job, directory, threads=threads)))
    except WorkerError as error:
        return Outcome(f"left to another process: {error}")
    except MftscreenError as error:
        text = str(error)
    except Exception as error:  # other jobs are not to suffer from it
        log.exception("not an error of the job's own")
        text = "".join(traceback.format_exception_only(error))
    return fail(job, directory, text)


def fail(job: Job, directory: Path, text: str) -> Outcome:
    """Return that a job has failed, and say so in its folder.

    Parameters
    ----------
    job : Job
    directory : Path
        Of the study.
    text : str
        Why.

    Returns
    -------
    Outcome
    """
    text = " ".join(text.split())
    path = directory / job.folder / FAILURE
    with suppress(OSError):  # there may be no room for more
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return Outcome(text, failed=True)
