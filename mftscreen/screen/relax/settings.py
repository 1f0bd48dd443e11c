"""How structures are relaxed, and what may be given for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal, cast, get_args

from mftscreen.errors import ConfigError
from mftscreen.screen.order.rank_options import plain_value

__all__ = ["CellFilterName", "OptimizerName", "RelaxSettings", "as_relax_settings"]

OptimizerName = Literal["fire", "bfgs", "lbfgs"]
CellFilterName = Literal["frechet", "none"]


@dataclass(frozen=True)
class RelaxSettings:
    """How structures are relaxed.

    Attributes
    ----------
    optimizer : {"fire", "bfgs", "lbfgs"}
        ASE's.
    cell_filter : {"frechet", "none"}
        ``frechet`` relaxes the cell, too, in its periodic directions, with the
        coordinates of :class:`ase.filters.FrechetCellFilter`.
    fmax : float
        Largest force (eV/Å) at which a structure counts as relaxed. With a cell filter
        the forces on the cell, divided by the number of atoms, are among them.
    steps : int
        Steps after which a structure is left as it is.
    relaxer : str, optional
        ``module:factory``, an importable function or class that returns an ASE
        calculator, in place of the model's force field. A run folder knows it by this
        name alone: what it has relaxed is not relaxed again when the function changes.

    Raises
    ------
    ConfigError
        If a value is not allowed; lists all that are not.

    Examples
    --------
    >>> RelaxSettings(fmax=0.01).optimizer
    'fire'
    >>> RelaxSettings(fmax=-1)
    Traceback (most recent call last):
    ...
    mftscreen.errors.ConfigError: fmax is a positive number of eV/Å, got -1
    """

    optimizer: OptimizerName = "fire"
    cell_filter: CellFilterName = "frechet"
    fmax: float = 0.05
    steps: int = 500
    relaxer: str | None = None

    def __post_init__(self) -> None:
        for name in ("optimizer", "cell_filter"):
            object.__setattr__(self, name, plain_value(getattr(self, name)))
        problems = [
            f"{name} is one of {', '.join(get_args(allowed))}, got {value!r}"
            for name, value, allowed in (
                ("optimizer", self.optimizer, OptimizerName),
                ("cell_filter", self.cell_filter, CellFilterName),
            )
            if not isinstance(value, str) or value not in get_args(allowed)
        ]
        if not (isinstance(self.fmax, Real) and 0 < self.fmax < math.inf):
            problems.append(f"fmax is a positive number of eV/Å, got {self.fmax}")
        if not (isinstance(self.steps, Integral) and self.steps >= 1):
            problems.append(f"steps is at least 1, got {self.steps}")
        if not isinstance(self.relaxer, str | None):
            problems.append(f"relaxer is a text MODULE:FACTORY, got {self.relaxer!r}")
        if problems:
            raise ConfigError(problems)
        # numbers of numpy are not those of JSON
        object.__setattr__(self, "fmax", float(self.fmax))
        object.__setattr__(self, "steps", int(self.steps))


def as_relax_settings(relax: Any) -> RelaxSettings | None:
    """Return how to relax, however it is given.

    Parameters
    ----------
    relax : RelaxSettings, str, bool, mapping or None
        The name of an optimiser; True for the default one; attributes of
        :class:`RelaxSettings` by name. None or False for not at all.

    Returns
    -------
    RelaxSettings or None

    Raises
    ------
    ConfigError
        If it is none of these, or a value is not allowed.

    Examples
    --------
    >>> as_relax_settings("bfgs").optimizer, as_relax_settings({"fmax": 0.1}).fmax
    ('bfgs', 0.1)
    """
    relax = plain_value(relax)
    if relax is None or isinstance(relax, RelaxSettings):
        return relax
    if isinstance(relax, bool):
        return RelaxSettings() if relax else None
    if isinstance(relax, str):
        return RelaxSettings(cast("OptimizerName", relax))  # which is checked
    known = [field.name for field in fields(RelaxSettings)]
    if not isinstance(relax, Mapping):
        problem = (
            f"relax: an optimiser ({', '.join(get_args(OptimizerName))}), True, or a "
            f"mapping of {', '.join(known)} is expected, got {relax!r}"
        )
        raise ConfigError([problem])
    if unknown := [str(name) for name in relax if name not in known]:
        problem = f"relax: {', '.join(unknown)}: unknown; known: {', '.join(known)}"
        raise ConfigError([problem])
    return RelaxSettings(**relax)
