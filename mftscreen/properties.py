"""What a predicted property is: its name, meaning, unit, head and transform."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from mftscreen.errors import (
    OutsideDomainError,
    PeriodicityError,
    UnknownPropertyError,
)
from mftscreen.head_forms import HEAD_FORMS, HeadForm, HeadKind
from mftscreen.suggestions import did_you_mean, folded
from mftscreen.transforms import Transform

__all__ = [
    "NORM",
    "Bias",
    "Part",
    "PropertyKind",
    "PropertySpec",
    "as_names",
    "by_target",
    "check_property_name",
    "choose_properties",
    "own_names",
    "suggestion",
    "undo_transforms",
]

Bias = Literal["per_element", "global"]
PropertyKind = Literal["number", "class"]

NORM = "norm"
"""What stands for a component's name in that of the length of all of them."""

_COLUMNS = frozenset(
    (
        *("rank", "front", "candidate", "formula", "unit", "status", "reason", "model"),
        *("file", "predicted_energy"),
        *("ood_p_value", "descriptor_p_value", "ood", "trust"),
        *("low_dimensional", "duplicate_of"),
        *("distance", "nearest", "unseen_pairs"),
    )
)
"""Columns of result tables beside the property's own."""

_AFFIXES = re.compile(r"relax_.*|.*_(unit|spread|error|low|high|no_interval)")
"""Columns that belong to a relaxation or to another property."""


def check_property_name(name: str) -> str:
    """Return a property's name; raise if it cannot be one.

    Parameters
    ----------
    name : str

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it has characters other than letters, digits and underscores, or already
        means something in ASE or in result tables.

    Examples
    --------
    >>> check_property_name("log_gvrh")
    'log_gvrh'
    """
    from ase.db.core import reserved_keys  # which imports most of ASE

    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        msg = f"{name!r} is not made of letters, digits and underscores"
        raise ValueError(msg)
    taken = {*all_properties, *chemical_symbols, *reserved_keys, *_COLUMNS}
    if _AFFIXES.fullmatch(name):
        msg = (
            f"{name!r} begins with relax_ or ends with _unit, _spread, _error, _low, "
            "_high or _no_interval, as columns of results do; choose another name, and "
            "if the data call it so, say that with 'column'"
        )
        raise ValueError(msg)
    if name in taken:
        msg = f"{name!r} already means something else in ASE or in result tables"
        raise ValueError(msg)
    return name


class Part(BaseModel):
    """What a property is of a target with several numbers.

    Attributes
    ----------
    of : str
        The target, by the name of its labels and of its head.
    index : int or None
        Place of the component that it is; None for the norm of all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    index: NonNegativeInt | None = None


class PropertySpec(BaseModel):
    """A physical quantity that a property head predicts.

    Attributes
    ----------
    name : str
        Identifier: the key in ``calc.results``, the CSV column and the key-value pair
        in ASE databases. Letters, digits and underscores; not a name
        that ASE or a result table uses, and not a chemical symbol.
    label : str
        For people, e.g. ``"refractive index"``.
    unit : str
        ``"1"`` for a dimensionless quantity.
    head : str
        How atomic contributions make the value: a name in
        :data:`mftscreen.head_forms.HEAD_FORMS`. ``intensive`` averages them and
        ``extensive`` sums them (Eq. 16 of arXiv:2601.08486); for the others, as
        ``r2`` and ``dipole_norm`` for molecules, see :mod:`mftscreen.model.heads`.
    transform : Transform
        What the head was trained on; undone in every prediction.
    formula_atoms : int, optional
        Atoms of the formula unit that a value is of, where it means nothing for any
        other: 5 for an energy per cell of a perovskite.
    kind : {"number", "class"}
        Of a ``class``, labels are 0 or 1 for no or yes, and predictions are the
        probability of yes.
    part : Part, optional
        Of a target with several numbers, each of which is a property by itself.

    Examples
    --------
    >>> PropertySpec(name="dielectric", label="refractive index").unit
    '1'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    unit: str = "1"
    head: HeadKind = "intensive"
    transform: Transform = Transform()
    formula_atoms: PositiveInt | None = None
    kind: PropertyKind = "number"
    part: Part | None = None

    @property
    def is_class(self) -> bool:
        """Whether predictions are probabilities."""
        return self.kind == "class"

    @property
    def target(self) -> str:
        """Name of the labels, and of the head that predicts it."""
        return self.part.of if self.part is not None else self.name

    @property
    def is_norm(self) -> bool:
        """Whether it is made of the components, which have the transforms."""
        return self.part is not None and self.part.index is None

    @property
    def index(self) -> int:
        """Place among the numbers of its target; 0 for the only one, and for a norm."""
        return 0 if self.part is None else self.part.index or 0

    def read(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the property, of all numbers of its target.

        Parameters
        ----------
        numbers : ndarray of shape (..., n_components)
            Of one number, for a property that is a target by itself.

        Returns
        -------
        ndarray of shape (...)

        Examples
        --------
        >>> norm = PropertySpec(name="f_norm", label="force", part=Part(of="f"))
        >>> norm.read(np.array([[3.0, 4.0]]))
        array([5.])
        """
        if self.is_norm:
            return np.asarray(np.linalg.norm(numbers, axis=-1))
        return np.asarray(numbers[..., self.index])

    @property
    def form(self) -> HeadForm:
        """What is known of the head's form."""
        return HEAD_FORMS[self.head]

    @property
    def intensive(self) -> bool:
        """Whether the value of a supercell equals that of the cell."""
        return self.form.intensive

    def check_structure(self, atoms: Atoms) -> None:
        """Raise if a structure cannot have the property.

        Parameters
        ----------
        atoms : Atoms

        Raises
        ------
        PeriodicityError
            If the head is for molecules and the structure is periodic.
        OutsideDomainError
            If its formula unit has not :attr:`formula_atoms` atoms.
        """
        if self.form.molecular and atoms.pbc.any():
            msg = (
                f"{self.name} (head {self.head}) is a property of molecules; a "
                "structure that is periodic has none. Set atoms.pbc = False if it is "
                "a molecule in a box"
            )
            raise PeriodicityError(msg)
        if self.formula_atoms is not None and len(atoms):
            counts = np.unique(atoms.numbers, return_counts=True)[1]
            unit = len(atoms) // int(np.gcd.reduce(counts))
            if unit != self.formula_atoms:
                msg = (
                    f"{self.name} ({self.unit}) is of formula units of "
                    f"{self.formula_atoms} atoms, and this one's has {unit}"
                )
                raise OutsideDomainError(msg)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_property_name(name)

    @model_validator(mode="before")
    @classmethod
    def _read_first_cards(cls, document: Any) -> Any:
        """Read cards of the time when ``intensive`` was all there was to say."""
        if isinstance(document, dict) and "intensive" in document:
            rest = {k: v for k, v in document.items() if k != "intensive"}
            head = "intensive" if document["intensive"] else "extensive"
            return {"head": head, **rest}
        return document


def by_target(specs: Iterable[PropertySpec]) -> dict[str, list[PropertySpec]]:
    """Return the properties of each target, in their order."""
    found: dict[str, list[PropertySpec]] = {}
    for spec in specs:
        found.setdefault(spec.target, []).append(spec)
    return found


def undo_transforms(
    specs: Iterable[PropertySpec], outputs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the numbers of a target for what its head gives.

    Parameters
    ----------
    specs : iterable of PropertySpec
        All properties of the target.
    outputs : ndarray of shape (n_structures, n_components)

    Returns
    -------
    ndarray of shape (n_structures, n_components)
        In the unit of the properties.
    """
    numbers = np.array(outputs, dtype=np.float64)
    for spec in specs:
        if not spec.is_norm:
            numbers[..., spec.index] = spec.transform.undo(numbers[..., spec.index])
    return numbers


_OTHERWISE = {
    "dielectric_constant": "",
    "zero_point_energy": "zpve",
    "dipole": "dipole_moment",
    "mu": "dipole_moment",
    "alpha": "polarizability",
    "cv": "heat_capacity",
}
"""What the same quantities are called elsewhere. Empty for another quantity, whose name
must not be taken for one that looks like it."""


def as_names(properties: Any) -> list[str]:
    """Return names of properties, of which one may be given as it is.

    Parameters
    ----------
    properties : str, iterable of str or None

    Returns
    -------
    list of str
        Empty for None.

    Raises
    ------
    UnknownPropertyError
        If there is something else than names.

    Examples
    --------
    >>> as_names("gap"), as_names(("gap", "homo"))
    (['gap'], ['gap', 'homo'])
    """
    if properties is None:
        return []
    names = [properties] if isinstance(properties, str) else properties
    if isinstance(names, Iterable):
        names = list(names)
        if all(isinstance(name, str) for name in names):
            return names
    msg = f"names of properties are expected, got {properties!r}"
    raise UnknownPropertyError(msg)


def own_names(
    names: Iterable[str], known: Mapping[str, PropertySpec]
) -> dict[str, list[str]]:
    """Return what models call the properties that names stand for.

    Parameters
    ----------
    names : iterable of str
        Names, labels (``refractive index``), or what is common elsewhere, in whatever
        case, with spaces, dashes or underscores.
    known : mapping of str to PropertySpec

    Returns
    -------
    dict of str to list of str
        Name to a property, or to all components of a target with several numbers; one
        that stands for none is itself.

    Examples
    --------
    >>> spec = PropertySpec(name="dielectric", label="refractive index")
    >>> known = {"dielectric": spec}
    >>> for k, axis in enumerate("xy"):
    ...     known[f"d_{axis}"] = PropertySpec(
    ...         name=f"d_{axis}", label=axis, part=Part(of="d", index=k))
    >>> own_names(["refractive_index", "gap", "D"], known)
    {'refractive_index': ['dielectric'], 'gap': ['gap'], 'D': ['d_x', 'd_y']}
    """
    by_text = {folded(spec.label): [name] for name, spec in known.items()}
    parts: dict[str, list[str]] = {}
    for name, spec in known.items():
        if spec.part is not None and not spec.is_norm:
            parts.setdefault(folded(spec.target), []).append(name)
    by_text |= parts
    by_text |= {text: [name] for text, name in _OTHERWISE.items() if name in known}
    by_text |= {folded(name): [name] for name in known}
    return {
        name: [name] if name in known else by_text.get(folded(name), [name])
        for name in names
    }


def choose_properties(
    names: Iterable[str], known: Mapping[str, PropertySpec], *, energy: bool = False
) -> list[str]:
    """Return the properties that names stand for, each once.

    Parameters
    ----------
    names : iterable of str
        See :func:`own_names`.
    known : mapping of str to PropertySpec
        What the model predicts.
    energy : bool, default False
        Whether it also predicts energies; for the message.

    Returns
    -------
    list of str

    Raises
    ------
    UnknownPropertyError
        If the model does not predict one of them.

    Examples
    --------
    >>> known = {"gap": PropertySpec(name="gap", label="band gap", unit="eV")}
    >>> choose_properties(["band gap", "gap"], known)
    ['gap']
    """
    chosen = list(dict.fromkeys(chain.from_iterable(own_names(names, known).values())))
    if unknown := [name for name in chosen if name not in known]:
        offered = ", ".join([*(["energy"] if energy else []), *known])
        msg = f"the model does not predict {', '.join(unknown)}; it predicts: {offered}"
        if energy and unknown[0] in ("energy", "forces", "stress"):
            msg += "; energy and forces are asked for apart, not as properties"
        raise UnknownPropertyError(msg + suggestion(unknown[0], known))
    return chosen


def suggestion(name: str, known: Mapping[str, PropertySpec] | Iterable[str]) -> str:
    """Return a question for a name that nothing has; empty without an answer.

    Examples
    --------
    >>> suggestion("dielectrics", ["gap", "dielectric"])
    "; did you mean 'dielectric'?"
    """
    if _OTHERWISE.get(folded(name)) == "":
        return ""
    if not isinstance(known, Mapping):
        return did_you_mean(name, known=known)
    labels = {spec.label: each for each, spec in known.items()}
    return did_you_mean(
        name, known=[*known, *by_target(known.values())], aliases=labels
    )
