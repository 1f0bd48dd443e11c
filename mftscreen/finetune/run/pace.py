"""How fast a training is, and how long it will take."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["Pace"]

N_SETTLE = 2
"""First steps that do not count: they allocate, compile and count."""
_MOST = 2000


class Pace:
    """What is known of the speed of a training from when its steps were done.

    Times are those of one clock, in seconds.

    Parameters
    ----------
    steps : int
        Of the training.
    done : int
        Steps that were done before it was watched.
    checkpoints : int
        That still are to be validated, those of the steps to come.

    Notes
    -----
    A step is taken to cost what it cost on average in the later half of the time since
    the training has settled: tasks that alternate and differ in cost are in it as they
    are drawn, and so is what validation on the same processor takes away. Checkpoints
    are validated one by one while training goes on, the last one after it; where that
    takes longer than the steps between them, it decides about the end.

    Examples
    --------
    >>> pace = Pace(steps=100, done=0, checkpoints=2)
    >>> for second in range(5, 31):
    ...     pace.saw(second, steps=second - 5)
    >>> pace.left(30.0)
    75.0
    >>> pace.validated(4.0)
    >>> pace.left(30.0)
    79.0
    """

    def __init__(self, steps: int, done: int, checkpoints: int) -> None:
        self._steps = steps
        self._settled = done + N_SETTLE
        self._checkpoints = checkpoints
        self._seen: list[tuple[float, int]] = []
        self._validation = 0.0

    def saw(self, now: float, steps: int) -> None:
        """Learn that so many steps are done.

        Parameters
        ----------
        now : float
        steps : int
            With those that were done before.
        """
        if steps < self._settled or (self._seen and steps <= self._seen[-1][1]):
            return
        if len(self._seen) > _MOST:
            del self._seen[1::2]
        self._seen.append((now, steps))

    def validated(self, seconds: float) -> None:
        """Learn how long the validation of a checkpoint took."""
        self._validation = seconds
        self._checkpoints -= 1

    def left(self, now: float) -> float | None:
        """Return how many seconds there are to go; None if that cannot be told yet.

        Parameters
        ----------
        now : float
        """
        if len(self._seen) < 2:
            return None
        (first, _), (last, steps) = self._seen[0], self._seen[-1]
        middle = (first + last) / 2
        then, before = self._seen[bisect_right(self._seen, (middle, steps)) - 1]
        cost = (last - then) / (steps - before)
        training = max(cost * (self._steps - steps) - (now - last), 0.0)
        validating = self._validation * (self._checkpoints - 1)
        return max(training, validating) + self._validation * (self._checkpoints > 0)
