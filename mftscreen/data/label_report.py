"""What labels frames and rows have, and which were passed over."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from mftscreen.data.readers import Row
from mftscreen.data.readers.extxyz import SPELLED
from mftscreen.errors import DataError

__all__ = ["LabelReport", "OtherColumns", "check_units", "unused_keys"]

_LIKE_LABELS = re.compile("energ|force|stress|virial", re.IGNORECASE)
_UNIT_OF = re.compile("(energy|forces?|stress|virials?)_?units?", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("energy", "virial", "virials"), "eV"),
    **dict.fromkeys(("force", "forces"), "eV/Å"),
    "stress": "eV/Å^3",
}
_USED_UP = {
    "energy": {"energy", "free_energy", "energies"},
    "force": {"forces"},
    "virial": {"stress", "stresses"},
}
"""ASE's results that a label stands for, and those that ASE gives beside them."""
_LARGE = {"force": 50.0, "stress": 1.0}
"""Largest components (eV/Å, eV/Å^3) beyond which a median is of no real data."""
_N_SEARCHED = 100
"""Rows whose other columns are looked at."""
_N_NAMED = 12

log = logging.getLogger(__name__)


def unused_keys(atoms: Atoms, labels: Mapping[str, object]) -> set[str]:
    """Return the keys of a frame that look like labels but are not used as such.

    Parameters
    ----------
    atoms : Atoms
    labels : mapping of str to object
        The labels that it was found to have: ``energy``, ``force``, ``virial``.

    Returns
    -------
    set of str
        Of its results, ``info`` and arrays.
    """
    results = atoms.calc.results if atoms.calc is not None else {}
    taken = {key for label in labels for key in _USED_UP.get(label, ())}
    if "virial" in labels:
        # one of them, where both are there
        taken.add("virial" if "virial" in atoms.info else "virials")
    return {
        key
        for values in (results, atoms.info, atoms.arrays)
        for key, value in values.items()
        if key not in taken and _LIKE_LABELS.search(key) and _is_numeric(value)
    }


def _is_numeric(value: object) -> bool:
    return np.asarray(value).dtype.kind in "iuf"


def check_units(atoms: Atoms) -> None:
    """Raise if a frame says that a label is in another unit than it has to be.

    Parameters
    ----------
    atoms : Atoms
        Its ``info`` may have ``energy_unit``, ``forces_unit``, ``stress_units`` and
        the like.

    Raises
    ------
    DataError
    """
    for key, value in atoms.info.items():
        match = _UNIT_OF.fullmatch(key)
        if match is None or not isinstance(value, str):
            continue
        unit = _UNITS[match[1].lower()]
        if _bare(value) != _bare(unit):
            msg = f"{key} is {value!r}; it is to be {unit}"
            raise DataError(msg)


def _bare(unit: str) -> str:
    """Return a unit as it is compared: ``eV/Angstrom**3`` is ``ev/a3``."""
    text = re.sub(r"ångström|angstrom|ang\b", "å", unit.lower())
    return re.sub(r"[\s^*()]", "", text.replace("å", "a").replace("³", "3"))


class LabelReport:
    """Counts the labels of frames.

    Parameters
    ----------
    path : Path
        The file that they are from.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n = 0
        self._counts = Counter(energy=0, force=0, virial=0)
        self._unused = Counter[str]()
        self._spelled = Counter[str]()
        self._largest: dict[str, list[float]] = {"force": [], "stress": []}

    def add(self, atoms: Atoms, labels: Mapping[str, NDArray[np.float64]]) -> None:
        """Take note of one frame and the labels that it was found to have."""
        self._n += 1
        for label in self._counts:
            self._counts[label] += label in labels
        self._unused.update(unused_keys(atoms, labels))
        if atoms.calc is not None:
            spelled = atoms.calc.parameters.get(SPELLED, {})
            self._spelled.update(f"{key} as {name}" for name, key in spelled.items())
        if "force" in labels:
            self._largest["force"].append(float(np.abs(labels["force"]).max()))
        if "virial" in labels and atoms.cell.rank == 3:
            stress = np.abs(labels["virial"]).max() / atoms.get_volume()
            self._largest["stress"].append(float(stress))

    def say(self) -> None:
        """Log how many frames have which label, and what may be wrong with them."""
        log.info(
            "%s: %d frames; %d have an energy, %d forces, %d a virial",
            self._path,
            self._n,
            *self._counts.values(),
        )
        if self._spelled:
            log.info("%s: read %s", self._path, _listed(self._spelled))
        if self._unused:
            log.warning(
                "%s: not used, though the names look like labels: %s; rename what is "
                "meant to energy, forces, stress or virial",
                self._path,
                _listed(self._unused),
            )
        for label, sizes in self._largest.items():
            median = float(np.median(sizes)) if sizes else 0.0
            if median > _LARGE[label]:
                log.warning("%s: %s", self._path, _too_large(label, median))


class OtherColumns:
    """Columns of numbers, of which any may be a label that was meant.

    Parameters
    ----------
    used : collection of str, default ()
        Labels that are read.
    """

    def __init__(self, used: Collection[str] = ()) -> None:
        self._used = used
        self._n = 0
        self._found: dict[str, None] = {}

    @property
    def names(self) -> list[str]:
        """In the order in which they were found."""
        return list(self._found)

    def add(self, row: Row) -> None:
        """Take note of a row, if it is one of the first; its id is no label."""
        self._n += 1
        if self._n > _N_SEARCHED:
            return
        for key, value in row.values.items():
            if key in self._used or isinstance(value, bool | np.bool_):
                continue
            with suppress(TypeError, ValueError, OverflowError):
                float(value)
                if str(value) != row.name:
                    self._found[key] = None

    def say(self, path: Path) -> None:
        """Log those of a file, if there are any."""
        names = self.names
        if not names:
            return
        more = len(names) - _N_NAMED
        log.info(
            "%s: read %s; other columns of numbers, not used: %s",
            path,
            ", ".join(self._used),
            ", ".join(names[:_N_NAMED]) + f" and {more} more" * (more > 0),
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{key} ({n})" for key, n in sorted(counts.items()))


def _too_large(label: str, median: float) -> str:
    if label == "force":
        return (
            f"half of the frames have a force component beyond {median:.4g} eV/Å; "
            "are the forces in another unit?"
        )
    return (
        f"half of the frames have a stress component beyond {median:.4g} eV/Å^3 "
        f"({median / units.GPa:.4g} GPa); is the stress in GPa or kbar? It is to be in "
        "eV/Å^3, negative where the crystal is compressed (VASP's sign is the opposite)"
    )
