"""Forces from any ASE calculator, named as ``module:factory``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from mftscreen.errors import ConfigError, UnknownPropertyError
from mftscreen.predictor import PredictionRow
from mftscreen.stress import stress_to_virial
from mftscreen.structures import check_structure, without_calculator

__all__ = ["ForeignForces", "factory_parts", "load_factory"]


def factory_parts(name: str) -> tuple[str, str]:
    """Return the module and the factory that a name stands for.

    Parameters
    ----------
    name : str

    Raises
    ------
    ConfigError
        If it is not ``module:factory``.
    """
    module_name, _, factory_name = name.partition(":")
    if not (module_name and factory_name):
        msg = (
            f"the relaxer {name!r} is not of the form module:factory, "
            "as in ase.calculators.emt:EMT"
        )
        raise ConfigError([msg])
    return module_name, factory_name


def load_factory(name: str) -> Any:
    """Return the ASE calculator that an importable factory makes.

    Parameters
    ----------
    name : str
        ``module:factory``; the factory is called without arguments. Modules of the
        current folder are found, too, after all others.

    Returns
    -------
    ase.calculators.calculator.BaseCalculator

    Raises
    ------
    ConfigError
        If `name` is not of that form, the module or the factory does not exist, or
        what it returns is not an ASE calculator.

    Examples
    --------
    >>> load_factory("ase.calculators.emt:EMT").name
    'emt'
    """
    module_name, factory_name = factory_parts(name)
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except ImportError as error:
        msg = f"the relaxer {name!r}: the module cannot be imported: {error}"
        raise ConfigError([msg]) from error
    except AttributeError as error:
        raise ConfigError([f"the relaxer {name!r}: {error}"]) from error
    try:
        calculator = factory()
    except Exception as error:  # code that is not ours
        msg = f"the relaxer {name!r}: {factory_name}() failed: {_describe(error)}"
        raise ConfigError([msg]) from error
    if not hasattr(calculator, "get_property"):
        msg = (
            f"the relaxer {name!r}: {factory_name}() returned a "
            f"{type(calculator).__name__}, not an ASE calculator"
        )
        raise ConfigError([msg])
    return calculator


class ForeignForces:
    """Evaluate structures one by one; what a calculator raises becomes a failed row.

    Parameters
    ----------
    calculator : ase.calculators.calculator.BaseCalculator
    stress : bool
        Whether periodic structures need their virial; it is left zero otherwise.

    Attributes
    ----------
    elements : tuple of str
        All: the calculator itself says which it does not know.

    Raises
    ------
    UnknownPropertyError
        If the calculator does not implement what is needed.
    """

    elements = tuple(chemical_symbols[1:])

    def __init__(self, calculator: Any, *, stress: bool) -> None:
        needed = ["energy", "forces", *(["stress"] if stress else [])]
        missing = [n for n in needed if n not in calculator.implemented_properties]
        if missing:
            msg = f"the relaxer has no {', '.join(missing)}"
            if missing == ["stress"]:
                msg += "; it can relax without a cell filter"
            raise UnknownPropertyError(msg)
        self.calculator = calculator
        self.stress = stress

    def __call__(self, structures: Sequence[Atoms]) -> Iterator[PredictionRow]:
        """Yield one row per structure, in order."""
        for index, atoms in enumerate(structures):
            try:
                check_structure(atoms, self.elements)
                yield self._evaluate(index, without_calculator(atoms))
            except Exception as error:  # noqa: BLE001 - code that is not ours
                yield PredictionRow(index, atoms, "relaxation_failed", _describe(error))

    def _evaluate(self, index: int, atoms: Atoms) -> PredictionRow:
        virial = np.zeros((3, 3))
        atoms.calc = self.calculator
        # the stress first: whoever computes it has energy and forces by then
        if self.stress and atoms.pbc.any():
            stress = atoms.get_stress(apply_constraint=False)
            virial = stress_to_virial(stress, atoms.get_volume())
        forces = atoms.get_forces(apply_constraint=False)
        return PredictionRow(
            index=index,
            atoms=atoms,
            energy=float(atoms.get_potential_energy()),
            forces=np.array(forces, dtype=np.float64),
            virial=virial,
        )


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
