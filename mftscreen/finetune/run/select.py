"""Which checkpoint of a run is best, which ones are kept, and when to stop."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mftscreen.finetune.run.validation import CRITERION
from mftscreen.writing import replacing

__all__ = ["Selection", "checkpoints", "is_readable"]

VALIDATION = "validation.json"
LAST, AVERAGED = "model.ckpt", "model_ema.ckpt"
"""deepmd-kit's names: weights to go on from, and their moving average."""

Curve = dict[int, dict[str, float]]


def checkpoints(directory: Path, name: str = LAST) -> dict[int, Path]:
    """Return the checkpoints of a run, by training step, in order.

    Parameters
    ----------
    directory : Path
    name : str, optional
        What their file names begin with.

    Returns
    -------
    dict of int to Path
    """
    found = {}
    for path in directory.glob(f"{name}-*.pt"):
        match = re.fullmatch(rf"{re.escape(name)}-(\d+)\.pt", path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def is_readable(checkpoint: Path) -> bool:
    """Return whether a checkpoint was written to its end."""
    return zipfile.is_zipfile(checkpoint)


class Selection:
    """The validated checkpoints of a run.

    Only the best and the last checkpoint stay on disk; the errors of all stay in
    ``validation.json``.

    Parameters
    ----------
    directory : Path
    validate : callable
        Takes a checkpoint and returns its errors; ``criterion`` is what counts, the
        smaller the better.
    patience : int, optional
        Validations without a better one after which the run is at its end.
    averaged : bool, optional
        Whether the moving average of the weights is what is validated.
    """

    def __init__(
        self,
        directory: Path,
        validate: Callable[[Path], Mapping[str, float]],
        patience: int | None = None,
        averaged: bool = False,
    ) -> None:
        self.directory = directory
        self._validate = validate
        self._patience = patience
        self._name = AVERAGED if averaged else LAST
        self._file = directory / VALIDATION
        text = self._file.read_text() if self._file.exists() else "{}"
        self.curve: Curve = {int(step): row for step, row in json.loads(text).items()}

    def rewind(self) -> int:
        """Drop what is newer than the last readable checkpoint, and return its step."""
        done = checkpoints(self.directory)
        while done and not self._is_whole(max(done)):
            # killed while it was written: go back to the one before
            done.pop(max(done)).unlink()
        last = max(done, default=0)
        self.curve = {step: row for step, row in self.curve.items() if step <= last}
        return last

    def _is_whole(self, step: int) -> bool:
        """Return whether a checkpoint is there with what is validated of it."""
        validated = checkpoints(self.directory, self._name).get(step)
        return is_readable(checkpoints(self.directory)[step]) and (
            step in self.curve or (validated is not None and is_readable(validated))
        )

    def update(self) -> bool:
        """Validate new checkpoints and delete superseded ones.

        Returns
        -------
        bool
            Whether there was a new one.
        """
        new = {
            step: path
            for step, path in checkpoints(self.directory, self._name).items()
            if step not in self.curve and is_readable(path)
        }
        for step, path in new.items():
            with _one_thread():
                self.curve[step] = dict(self._validate(path))
            with replacing(self._file) as partial:
                partial.write_text(json.dumps(self.curve, indent=1))
            self._delete_superseded()
        return bool(new)

    def _delete_superseded(self) -> None:
        kept = {max(self.curve), self.best}
        for name in (LAST, AVERAGED):
            for step, path in checkpoints(self.directory, name).items():
                if step in self.curve and step not in kept:
                    path.unlink()

    @property
    def best(self) -> int | None:
        """Step of the checkpoint with the smallest finite criterion."""
        finite = {
            step: row[CRITERION]
            for step, row in self.curve.items()
            if math.isfinite(row[CRITERION])
        }
        return min(finite, key=lambda step: finite[step]) if finite else None

    @property
    def best_path(self) -> Path:
        """The best checkpoint."""
        return self.directory / f"{self._name}-{self.best}.pt"

    @property
    def is_exhausted(self) -> bool:
        """Whether the last `patience` validations were no better than one before."""
        if self._patience is None or self.best is None:
            return False
        return sum(step > self.best for step in self.curve) >= self._patience


@contextmanager
def _one_thread() -> Iterator[None]:
    """Leave the other cores to the process that trains."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
