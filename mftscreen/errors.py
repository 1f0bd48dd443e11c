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

    Cause: one of the classes below, of which the message says more. As a status,
    ``unreadable``, it stands for a candidate whose text or file could not be read.

    Remedy: ``except MftscreenError`` catches all of them. On the command line,
    ``mftscreen --traceback …`` shows where one comes from.

    Attributes
    ----------
    status : str
        Short name of the fault, written to the ``status`` column of result rows.
    """

    status = "unreadable"


class StructureError(MftscreenError, InputError):
    """A structure cannot be evaluated as it is.

    Cause: an object that is no structure, disordered or partially occupied sites, a
    file whose contents contradict each other, labels that do not fit the atoms.

    Remedy: mend what the message names. Order a disordered structure first, for example
    with pymatgen's ``OrderDisorderedStructureTransformation``.
    """

    status = "invalid_structure"


class UnknownElementError(StructureError):
    """The structure holds an element that the model has no parameters for.

    Cause: the element is not in the model's type map, or its force field has never seen
    it.

    Remedy: ``mftscreen models show MODEL`` lists those that it has learned from. Take a
    model that has them all (``7net-0`` has 89), or skip such candidates with
    ``--exclude-elements``.
    """

    status = "unknown_element"


class InvalidGeometryError(StructureError):
    """No atoms, non-finite numbers, overlapping atoms, or a cell without volume.

    Cause: mostly a reading or unit error: lengths in another unit than Å, a missing
    cell, two atoms on one site, NaN in a table.

    Remedy: look at the structure with ``ase gui``. Give lengths in Å, remove atoms that
    stand twice, and give every periodic direction a cell vector.
    """

    status = "invalid_geometry"


class PeriodicityError(StructureError):
    """The periodic boundary conditions cannot be represented exactly.

    Cause: a head for molecules was given a periodic structure, or one for crystals a
    molecule; or the orbital field matrix, which needs all three directions to be
    periodic.

    Remedy: set ``atoms.pbc`` as it is meant, and choose the head with ``energy_head``
    or ``--energy-head``: its name, ``crystals`` or ``molecules``.
    """

    status = "unsupported_pbc"


class OutsideDomainError(StructureError):
    """The model was not made for such a structure, and its value would mislead.

    Cause: a molecule, or a file without a cell as plain XYZ is, was given to a model of
    crystals, a slab to one of bulk crystals, another number of atoms to a property of a
    fixed formula unit, or an element without a training label to the calculator.

    Remedy: take a model that was trained on such structures (``mftscreen models
    list``). ``--anyway``, and ``check_domain=False`` in Python, evaluate all the same
    and flag the value.
    """

    status = "outside_domain"


class DomainWarning(UserWarning):
    """A model is asked about what it has seen nothing like.

    Cause: a charge, an odd number of electrons, or a molecule smaller or larger than
    those of the training set.

    Remedy: do not trust the value without another check. ``check_domain=False`` makes
    warnings of refusals; :func:`warnings.filterwarnings` silences them, and nothing
    makes such a value more certain.
    """


class ModelError(MftscreenError):
    """Something about a model is wrong.

    Cause: a device was asked for that torch does not see, a package that brings a model
    is missing, a pretrained model without properties was given where a fine-tuned one
    is needed, or torch failed while it evaluated.

    Remedy: do what the message says: ``--device cpu``, ``pip install
    "mftscreen[sevenn]"``, or ``mftscreen finetune`` and the ``.mft`` that comes of it.
    """


class ModelFileError(ModelError, ValueError):
    """The file is not a usable model: wrong format, truncated or tampered with.

    Cause: a path that does not exist, a download that broke off, a file of a newer
    version of mftscreen, or one that asks for what a model file may not ask for.

    Remedy: check the path, fetch the file again and compare its sha256, or ``pip
    install -U mftscreen``. Convert deepmd-kit's own models with ``mftscreen models
    import``.
    """


class UnknownModelError(ModelError, LookupError):
    """No registered model has the requested name.

    Cause: a misspelt name, or a file's path that does not end in ``.mft`` or ``.pt``.

    Remedy: ``mftscreen models list`` lists the names.
    """


class UnknownHeadError(ModelError, LookupError):
    """The model has no head of the requested name or kind.

    Cause: a misspelt head, one of another model, or several heads of which none was
    chosen.

    Remedy: ``mftscreen models show MODEL`` lists the heads. Choose one with
    ``energy_head`` or ``--energy-head``, in a configuration with ``auxiliary.head``.
    """


class UnsupportedByBackboneError(ModelError, NotImplementedError):
    """What was asked for is not there for the model's kind of descriptor.

    Cause: not every backbone can be trained from scratch, or has the vectors of
    ``dipole_norm`` and the edges that ``mftscreen diagnose`` compares.

    Remedy: leave the feature out, or take a DPA3 model, which has all of them.

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
    """The model does not predict the requested property.

    Cause: a misspelt property, one of another model, or none was chosen from several.

    Remedy: ``mftscreen models show MODEL`` lists what a model predicts. Name one with
    ``-p``, and the model that has it with ``-m``.
    """


class DataError(MftscreenError, ValueError):
    """A data set, or one of its rows, cannot be used.

    Cause: a file that is missing, empty, damaged or in an unknown format, a column
    without numbers, ids that stand twice, a split of other data, or a run folder that
    another process uses.

    Remedy: the message names the file and, if there is one, the row. ``mftscreen data
    describe FILE`` shows what is read of it.

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
    """A file cannot be downloaded, or is not the one that was expected.

    Cause: no internet, a proxy, a server that is down, or a file whose checksum is
    another one.

    Remedy: try again. Without internet, download the file elsewhere and put it where
    the message says; ``MFTSCREEN_MODELS`` names another folder for models.
    """


class ConfigError(MftscreenError, ValueError):
    """A configuration has problems; all of them are listed.

    Cause: an unknown or missing key, a value out of range, keys that exclude each
    other, or a run folder that holds another run.

    Remedy: mend each line of the message; it names the closest valid key. ``mftscreen
    recipes validate FILE`` checks a file without training.

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

    Cause: a loss that is not finite any more, too little memory, a full disk, or an
    error of deepmd-kit, whose last lines are quoted.

    Remedy: read the log that is named. Lower ``training.learning_rate`` or look for
    wrong labels with ``mftscreen data describe``, make ``training.batch_size`` smaller,
    or make room; then go on with ``--resume``.

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
    """Processes that evaluate structures cannot be had, are lost, or lack something.

    Cause: workers that were killed, mostly for want of memory, a Dask scheduler that
    cannot be reached, or a worker with another version of mftscreen or without a
    package.

    Remedy: fewer processes (``-j``), the address of a scheduler that runs, or the same
    environment on every node. With ``--run`` the same command goes on where it was.
    """
