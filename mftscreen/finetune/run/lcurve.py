"""deepmd-kit's ``lcurve.out`` as rows."""

from __future__ import annotations

import math
from pathlib import Path

__all__ = ["LearningCurve", "read_lcurve"]

LearningCurve = list[dict[str, float]]


def read_lcurve(path: Path) -> LearningCurve:
    """Return one dictionary per complete line of a learning curve.

    Parameters
    ----------
    path : Path
        Need not exist yet, and may still be written to.

    Returns
    -------
    list of dict
        ``step``, ``lr`` and deepmd's error names, e.g. ``rmse_f_trn_crystals``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    names: list[str] = []
    rows: LearningCurve = []
    # the last line may still be being written
    for line in text[: text.rfind("\n") + 1].splitlines():
        words = line.split()
        if line.startswith("#"):
            if len(words) > 1 and words[1] == "step":
                names = words[1:]
            continue
        if len(words) == len(names) and words:
            rows.append(dict(zip(names, map(float, words), strict=True)))
    return rows


def has_diverged(row: dict[str, float]) -> bool:
    """Return whether all training errors of a row are NaN or infinite.

    Errors without labels are NaN in a healthy run, too, so one alone says nothing.
    """
    errors = [value for name, value in row.items() if "_trn" in name]
    return bool(errors) and not any(math.isfinite(value) for value in errors)
