"""What a predicted property is: its name, meaning, unit and size dependence."""

from __future__ import annotations

import re

from ase.calculators.calculator import all_properties
from ase.data import chemical_symbols
from ase.db.core import reserved_keys
from pydantic import BaseModel, ConfigDict, field_validator

__all__ = ["PropertySpec"]

_COLUMNS = frozenset(
    ("rank", "candidate", "unit", "ood_p_value", "ood", "status", "reason", "model")
)
"""Columns of result tables beside the property's own."""


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
    intensive : bool
        True if the value of a supercell equals that of the cell (Eq. 16 of
        arXiv:2601.08486 averages the atomic contributions), False if it multiplies.

    Examples
    --------
    >>> PropertySpec(name="dielectric", label="refractive index").unit
    '1'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    unit: str = "1"
    intensive: bool = True

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            msg = f"{name!r} is not made of letters, digits and underscores"
            raise ValueError(msg)
        if name in {*all_properties, *chemical_symbols, *reserved_keys, *_COLUMNS}:
            msg = f"{name!r} already means something else in ASE or in result tables"
            raise ValueError(msg)
        return name
