"""What people see of a training: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from mftscreen.console.progress import progress_bar, progress_line
from mftscreen.finetune.run.pace import Pace
from mftscreen.finetune.run.select import Selection
from mftscreen.finetune.run.validation import CRITERION

__all__ = ["TrainingProgress", "say_time"]

LINE_SECONDS = 60.0


class TrainingProgress(AbstractContextManager["TrainingProgress"]):
    """The progress of a training on standard error.

    Parameters
    ----------
    selection : Selection
        Validates the checkpoints of the training.
    steps, done : int
        Steps of the training, and how many were done before.
    save_every : int
        Steps between checkpoints.
    shown : bool
        If not, nothing is shown.
    """

    def __init__(
        self,
        selection: Selection,
        steps: int,
        done: int,
        save_every: int,
        *,
        shown: bool,
    ) -> None:
        self._selection = selection
        self._steps = steps
        # the last step is saved, too
        to_come = -(-steps // save_every) - done // save_every
        self._pace = Pace(steps, done, to_come)
        self._bar = progress_bar(
            shown=shown, total=steps, initial=done, unit="step", desc="training"
        )
        self._writes = shown and self._bar.disable
        self._done = done
        self._said = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def validate(self) -> None:
        """Validate what checkpoints there are, and learn how long that takes."""
        before, began = len(self._selection.curve), time.monotonic()
        if self._selection.update():
            n = len(self._selection.curve) - before
            for _ in range(n):
                self._pace.validated((time.monotonic() - began) / n)

    def show(self, done: int, row: Mapping[str, float] | None) -> None:
        """Show how far the training is.

        Parameters
        ----------
        done : int
            Steps that are done.
        row : mapping of str to float or None
            The last one of the learning curve, if there is one.
        """
        now = time.monotonic()
        self._pace.saw(now, done)
        errors = _losses(row or {}) | _best(self._selection)
        if done > self._done:
            # refreshed at most ten times a second
            self._bar.set_postfix(errors, refresh=False)
            self._bar.update(done - self._done)
            self._done = done
        if self._writes and now - self._said >= LINE_SECONDS:
            self._said = now
            progress_line(self._line(now, errors))

    def _line(self, now: float, errors: Mapping[str, str]) -> str:
        parts = [f"{self._selection.directory}: step {self._done} of {self._steps}"]
        parts += [f"{name} {value}" for name, value in errors.items()]
        if (left := self._pace.left(now)) is None:
            parts.append("too early to say when it ends")
        else:
            end = datetime.now().astimezone() + timedelta(seconds=left)
            parts.append(f"{say_time(left)} to go, until {end:%a %H:%M}")
        return ", ".join(parts)


def say_time(seconds: float) -> str:
    """Return a time in two units at most.

    Examples
    --------
    >>> say_time(42.0), say_time(170.0), say_time(8000.0), say_time(200_000.0)
    ('42 s', '3 min', '2 h 13 min', '2 d 8 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def _best(selection: Selection) -> dict[str, str]:
    """Return the smallest validation error, relative to that of a constant."""
    if selection.best is None:
        return {}
    criterion = selection.curve[selection.best][CRITERION]
    return {"validation": f"{criterion:.3g} at {selection.best}"}


def _losses(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the training errors that a person watches."""
    wanted = re.compile(r"(?:mae|rmse)(?:_f)?_trn.*")
    return {
        name.replace("_trn", ""): f"{value:.3g}"
        for name, value in row.items()
        if wanted.fullmatch(name)
    }
