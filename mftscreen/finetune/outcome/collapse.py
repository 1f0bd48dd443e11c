"""The collapse report of a run: what training did to the pretrained representations."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from mftscreen.console.progress import showing_stages
from mftscreen.console.text_table import text_table
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.diagnostics.diagnosis import (
    MIN_ROWS,
    DiagnosisOptions,
    diagnose,
)
from mftscreen.diagnostics.pages import write_diagnosis, write_numbers
from mftscreen.diagnostics.sampling import take_evenly
from mftscreen.errors import MftscreenError
from mftscreen.finetune.strategies import TuneConfig
from mftscreen.finetune.task.partition import ID_TEST, OOD_TEST, in_order
from mftscreen.finetune.task.training_data import TrainingData

__all__ = [
    "COLUMNS",
    "NUMBERS",
    "PAGE",
    "Collapse",
    "collapse_parts",
    "large_enough",
    "read_collapse",
    "report_collapse",
    "starting_model",
]

PAGE, NUMBERS = "collapse.html", "collapse.json"

N_STRUCTURES = 500
"""Of each part. 5,000 atoms, what drift is measured on, may be in as many."""
N_SAMPLES = 300
"""Atoms of each environment and edges of each kind; ``mftscreen diagnose`` takes 500.
The t-SNE of the paper's 2,000 would take as long as a short training."""

_MADE_BY = "mftscreen finetune"  # what a report gives as its command
_MODEL = "fine-tuned"
COLUMNS = ("atoms", "W1", "spread", "DB t-SNE", "DB desc.")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collapse:
    """The numbers of a collapse report.

    Attributes
    ----------
    document : mapping
        What ``collapse.json`` holds.
    """

    document: Mapping[str, Any]

    @property
    def numbers(self) -> dict[str, float]:
        """What is to be compared among models.

        ``w1_<part>`` for each part; ``db_plane`` and ``db_descriptor`` of the OOD test
        or, without one, of the last part, which are missing where its clusters could
        not be compared.
        """
        found = {f"w1_{part}": s["drift"]["w1"] for part, s in self._parts.items()}
        last = self._parts.get(OOD_TEST) or list(self._parts.values())[-1]
        found |= {f"db_{k}": r for k, r in _ratios(last).items() if r is not None}
        return found

    def to_table(self) -> str:
        """Return a line for each part, for people."""
        source = Path(self.document["pretrained"]["source"]).name
        lines: list[tuple[str, ...]] = [(f"drift from {source}", *COLUMNS)]
        for part, found in self._parts.items():
            drift, ratios = found["drift"], _ratios(found)
            measured = (drift["w1"], drift["spread"], *ratios.values())
            cells = ("" if x is None else f"{x:.3g}" for x in measured)
            lines.append((part, str(drift["n_atoms"]), *cells))
        return text_table(lines, "<>", (24, 8))

    @property
    def _parts(self) -> dict[str, Any]:
        found = self.document["data_sets"].items()
        return {part: each["models"][_MODEL] for part, each in found}


def _ratios(found: Mapping[str, Any]) -> dict[str, float | None]:
    """Return Davies-Bouldin indices of atoms over those of the pretrained model."""
    atoms = found["atoms"] or {}
    spaces = ("plane", "descriptor")
    return {
        space: atoms.get(f"davies_bouldin_{space}", {}).get("ratio") for space in spaces
    }


def starting_model(config: TuneConfig) -> str | None:
    """Return the pretrained model whose weights a run takes over, if it does.

    Parameters
    ----------
    config : TuneConfig
    """
    plan = config.plan
    return plan.pretrained if plan.transfers else None


def collapse_parts(
    data: TrainingData, n_structures: int | None = N_STRUCTURES
) -> dict[str, list[Atoms]]:
    """Return the structures that a report is made of.

    Parameters
    ----------
    data : TrainingData
        With at least one property.
    n_structures : int, optional
        Of each part, at most; all if it is None.

    Returns
    -------
    dict of str to list of Atoms
        ``train``; ``id`` or, without such a test, ``validation``; all other tests.
        Evenly spread structures of each part, those of several properties once.
    """
    parts = {part: [row.atoms for row in data.by_property(part)] for part in data.rows}
    if parts.get(ID_TEST):
        del parts["validation"]
    return {
        part: take_evenly(parts[part], n_structures or len(parts[part]))
        for part in in_order(parts)
    }


def report_collapse(
    model: Path,
    pretrained: str,
    parts: Mapping[str, Sequence[Atoms]],
    *,
    progress: bool = False,
) -> Collapse | None:
    """Write ``collapse.html`` and ``collapse.json`` beside a model.

    Parameters
    ----------
    model : Path
        If a report of this very model is there already, it is left as it is.
    pretrained : str
        What it was trained from, or is to be compared with.
    parts : mapping of str to sequence of Atoms
        From :func:`collapse_parts`. One of fewer than 10 atoms is left out.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Collapse or None
        None if there is no report. Nothing is raised, since the model is worth more
        than its report: the log has a warning with the reason.

    Notes
    -----
    Of each part, the 1-Wasserstein distance of the same atoms' descriptors from the
    pretrained ones (Eq. 15 of arXiv:2601.08486), of 5,000 atoms if its structures have
    so many. Of the OOD test, as in the paper, or else of the last part, and of the ID
    test or the validation set, the clusters of atoms and edges and their Davies-Bouldin
    indices (Eqs. 13-14).
    """
    page = model.with_name(PAGE)
    try:
        made = read_collapse(model)
        if made is not None and page.exists():
            return made
        return _report(model, pretrained, parts, progress)
    except Exception as error:  # noqa: BLE001, see above
        _warn(f"no collapse report of {model}", error)
    return None


def read_collapse(model: Path) -> Collapse | None:
    """Return the numbers of the report beside a model, if it is of this very model.

    Parameters
    ----------
    model : Path

    Raises
    ------
    OSError
        If `model` cannot be read.
    """
    numbers = model.with_name(NUMBERS)
    if not numbers.exists():
        return None
    try:
        document = json.loads(numbers.read_text(encoding="utf-8"))
        made_of = document["fine_tuned"][_MODEL]["sha256"]
    except (ValueError, LookupError, TypeError):  # something else of this name
        return None
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    return Collapse(document) if made_of == sha256 else None


def _report(
    model: Path,
    pretrained: str,
    parts: Mapping[str, Sequence[Atoms]],
    progress: bool,
) -> Collapse | None:
    page = model.with_name(PAGE)
    page.unlink(missing_ok=True)  # of a model that was here before
    usable = large_enough(parts)
    if not usable:
        return None
    first, *others = usable
    options = DiagnosisOptions(
        n_samples=N_SAMPLES, clustered=_clustered(others) or (first,)
    )
    before, after = load_network(pretrained), {_MODEL: load_network(model)}
    with showing_stages(options.count_stages(usable), shown=progress) as begin:
        diagnosis = diagnose(before, after, usable, options, begin)
    write_numbers(diagnosis, model.with_name(NUMBERS), _MADE_BY)
    try:
        write_diagnosis(diagnosis, page, _MADE_BY)
    except Exception as error:  # noqa: BLE001, the numbers are there without plots
        _warn(f"{page} cannot be made", error)
    return read_collapse(model)


def _clustered(tests: Sequence[str]) -> tuple[str, ...]:
    """Return the tests whose clusters are compared: what is like training, and OOD."""
    unlike = [OOD_TEST] if OOD_TEST in tests else tests[-1:]
    return tuple(dict.fromkeys([*tests[:1], *unlike]))


def large_enough(
    parts: Mapping[str, Sequence[Atoms]],
) -> dict[str, Sequence[Atoms]]:
    """Return the parts that can be looked at; the log has those of a few atoms.

    Parameters
    ----------
    parts : mapping of str to sequence of Atoms
        From :func:`collapse_parts`.
    """
    usable = {}
    for part, structures in parts.items():
        n_atoms = sum(map(len, structures))
        if n_atoms >= MIN_ROWS:
            usable[part] = structures
        elif n_atoms:
            log.warning(
                "the collapse report leaves out part %r of %d atoms; %d are needed",
                part,
                n_atoms,
                MIN_ROWS,
            )
    return usable


def _warn(what: str, error: Exception) -> None:
    known = isinstance(error, MftscreenError | OSError)
    # what nobody thought of comes with its place, to be reported
    log.warning("%s: %s", what, error, exc_info=None if known else error)
