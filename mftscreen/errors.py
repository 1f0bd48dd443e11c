"""Exceptions and warnings of mftscreen.

::

    MftscreenError
    ├── StructureError (ase InputError)      a structure cannot be evaluated as it is
    │   ├── UnknownElementError              an element the model was not trained for
    │   ├── InvalidGeometryError             empty, NaN, overlapping atoms, flat cell
    │   ├── PeriodicityError                 pbc that the model cannot represent
    │   └── OutsideDomainError               a value would mean nothing, or little
    ├── ModelError
    │   ├── ModelFileError (ValueError)      not a model file, truncated, tampered with
    │   ├── UnknownModelError (LookupError)  no shipped model has this name
    │   ├── UnknownHeadError (LookupError)   the model has no such head
    │   └── UnsupportedByBackboneError (NotImplementedError)
    │                                        its kind of descriptor lacks a feature
    ├── UnknownPropertyError (ase PropertyNotImplementedError, LookupError)
    ├── DataError (ValueError)               a data set or one of its rows is unusable
    ├── DownloadError (OSError)              a file cannot be had, or is another one
    ├── ConfigError (ValueError)             a configuration file; lists all problems
    ├── TrainingError (RuntimeError)         the training process failed
    └── WorkerError (RuntimeError)           worker processes are lost or of no use

    DomainWarning (UserWarning)              a value may mean little

Every class also inherits what the ecosystem raises for the same fault, so that
``except ase.calculators.calculator.InputError`` keeps working. ``KeyError`` is never
used, because its ``str()`` puts quotes around the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase.calculators.calculator import InputError, PropertyNotImplementedError

__all__ = [
    "ConfigError",
    "DataError",
    "DomainWarning",
    "DownloadError",
    "InvalidGeometryError",
    "MftscreenError",
    "ModelError",
    "ModelFileError",
    "OutsideDomainError",
    "PeriodicityError",
    "StructureError",
    "TrainingError",
    "UnknownElementError",
    "UnknownHeadError",
    "UnknownModelError",
    "UnknownPropertyError",
    "UnsupportedByBackboneError",
    "WorkerError",
]


class MftscreenError(Exception):
    """Root of everything mftscreen raises on purpose.

    Attributes
    ----------
    status : str
        Short name of the fault, written to the ``status`` column of result rows.
    """

    status = "unreadable"


class StructureError(MftscreenError, InputError):
    """A structure cannot be evaluated as it is."""

    status = "invalid_structure"


class UnknownElementError(StructureError):
    """The structure holds an element that the model has no parameters for."""

    status = "unknown_element"


class InvalidGeometryError(StructureError):
    """No atoms, non-finite numbers, overlapping atoms, or a cell without volume."""

    status = "invalid_geometry"


class PeriodicityError(StructureError):
    """The periodic boundary conditions cannot be represented exactly."""

    status = "unsupported_pbc"


class OutsideDomainError(StructureError):
    """The model was not made for such a structure, and its value would mislead."""

    status = "outside_domain"


class DomainWarning(UserWarning):
    """A model is asked about what it has seen nothing like."""


class ModelError(MftscreenError):
    """Something about a model is wrong."""


class ModelFileError(ModelError, ValueError):
    """The file is not a usable model: wrong format, truncated or tampered with."""


class UnknownModelError(ModelError, LookupError):
    """No registered model has the requested name."""


class UnknownHeadError(ModelError, LookupError):
    """The model has no head of the requested name or kind."""


class UnsupportedByBackboneError(ModelError, NotImplementedError):
    """What was asked for is not there for the model's kind of descriptor.

    Parameters
    ----------
    kind : str
        deepmd-kit's type of the descriptor.
    feature : str
        What is not there.
    """

    def __init__(self, kind: str, feature: str) -> None:
        super().__init__(f"the descriptor is a {kind}, which does not offer {feature}")
        self.kind = kind
        self.feature = feature


class UnknownPropertyError(MftscreenError, PropertyNotImplementedError, LookupError):
    """The model does not predict the requested property."""


class DataError(MftscreenError, ValueError):
    """A data set, or one of its rows, cannot be used.

    Parameters
    ----------
    message : str
        What was wrong and what is allowed.
    path : str, Path or RowsInMemory, optional
        The file concerned, or what is in its place.
    """

    def __init__(self, message: str, path: object = None) -> None:
        super().__init__(f"{path}: {message}" if path is not None else message)
        self.path = path


class DownloadError(MftscreenError, OSError):
    """A file cannot be downloaded, or is not the one that was expected."""


class ConfigError(MftscreenError, ValueError):
    """A configuration has problems; all of them are listed.

    Parameters
    ----------
    problems : sequence of str
        One line per problem, each with the key it concerns.
    path : str or Path, optional
        The configuration file.
    """

    def __init__(self, problems: Sequence[str], path: str | Path | None = None) -> None:
        self.problems = list(problems)
        self.path = path
        where = f"{path}: " if path is not None else ""
        if len(self.problems) == 1:
            super().__init__(where + self.problems[0])
            return
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{where}{len(self.problems)} problems\n{lines}")


class TrainingError(MftscreenError, RuntimeError):
    """The training process failed.

    Parameters
    ----------
    message : str
        What happened and what to do.
    log_path : Path, optional
        The log of the training process.
    """

    def __init__(self, message: str, log_path: Path | None = None) -> None:
        super().__init__(
            f"{message} (log: {log_path})" if log_path is not None else message
        )
        self.log_path = log_path


class WorkerError(MftscreenError, RuntimeError):
    """Processes that evaluate structures cannot be had, are lost, or lack something."""
