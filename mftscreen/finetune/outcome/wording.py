"""The errors of a model in a sentence, and what the words of its tables mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mftscreen.finetune.task.partition import ID_TEST, OOD_TEST
from mftscreen.metrics import BASELINES, FEW_ROWS, TITLES, main_error

__all__ = ["legend", "say_errors"]

_TERMS = {
    "validation": "rows that chose the checkpoint and the settings; those of a kernel "
    "are training rows in other folds",
    ID_TEST: "test rows in distribution (ID): like the training rows",
    OOD_TEST: "test rows out of distribution (OOD): what the split keeps apart",
    "in 90 %": "share of labels that the 90 % intervals hold",
    "W1": "how far descriptors of the same atoms are from the pretrained ones "
    "(1-Wasserstein distance)",
    "spread": "how far pretrained descriptors lie from their mean, on average",
    "DB": "how close kinds of atoms lie to each other (Davies-Bouldin index), on a "
    "t-SNE plane or in the descriptor, over what it was before; above 1 they are less "
    "well apart",
    "constant": "the mean of the training labels for every structure; of a class, the "
    "share that is so",
    "±": "standard deviation (n - 1) over folds",
}


def legend(shown: Iterable[str]) -> list[str]:
    """Return what the words in tables mean, a line for each that needs it.

    Parameters
    ----------
    shown : iterable of str
        Headings of lines and columns; of ``w1_ood`` and ``DB desc.``, what they begin
        with counts.

    Examples
    --------
    >>> legend(["n", "id", "my test"])
    ['id: test rows in distribution (ID): like the training rows']
    """
    words = set(shown)
    words |= {
        word.replace("_", " ").split()[0].upper() for word in words if word.strip()
    }
    return [f"{term}: {text}" for term, text in _TERMS.items() if term in words]


def say_errors(name: str, parts: Mapping[str, Mapping[str, float]]) -> str:
    """Return the error of a property that counts most, in proportion to others.

    Parameters
    ----------
    name : str
    parts : mapping of str to mapping of str to float
        Part (``validation``, ``id``, ``ood``, or the name of a test) to its metrics.
        The OOD test counts, or else the last test.

    Returns
    -------
    str
        Empty without any part.

    Examples
    --------
    >>> found = {"n": 50.0, "mae": 0.2, "mae_of_training_mean": 0.8}
    >>> say_errors("gap", {"validation": found, "ood": found})
    'gap: MAE out of distribution is 25 % of that of a constant (50 rows)'
    """
    if not parts:
        return ""
    part = OOD_TEST if OOD_TEST in parts else list(parts)[-1]
    found = parts[part]
    key = main_error(found)
    title, constant = TITLES[key], found[BASELINES[key]]
    where = {OOD_TEST: "out of distribution", ID_TEST: "in distribution"}
    text = f"{name}: {title} {where.get(part, f'on {part}')}"
    if not constant:
        text += f" is {found[key]:.3g}, and that of a constant 0"
    elif found[key] < constant:
        text += f" is {_brief(100 * found[key] / constant)} % of that of a constant"
    else:
        text += f" is {_brief(found[key] / constant)} times that of a constant"
    text += f" ({found['n']:.0f} rows"
    text += ", which decide little)" if found["n"] < FEW_ROWS else ")"
    near = parts.get(ID_TEST, {}).get(key)
    if part == OOD_TEST and near:
        text += f", and {_brief(found[key] / near)} times that in distribution"
    if part == "validation":
        text += "; there is no test that had no say in the training"
    return text


def _brief(ratio: float) -> str:
    """Return a number with two digits or, if it is large, without decimals."""
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"
