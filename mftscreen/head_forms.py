"""Forms of property heads: how the value of a structure is made of its atoms.

Here stands what configurations, training inputs, model files and the evaluation ask
about a form; none of it needs torch or deepmd-kit. A form whose net is not deepmd-kit's
own has it in a module of :mod:`mftscreen.model.heads`.

A new form is such a module and its line in ``_FORMS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

__all__ = ["HEAD_FORMS", "STANDARD", "HeadForm", "HeadKind", "find_form"]

STANDARD = "standard"
"""deepmd-kit's type of models, unless a kind of descriptors has one of its own."""


@dataclass(frozen=True)
class HeadForm:
    """What is known of a form of property heads.

    Attributes
    ----------
    name : str
        As configurations and cards have it.
    fitting : str
        deepmd-kit's type of the fitting net. If the model is not deepmd-kit's standard
        one, also the module of :mod:`mftscreen.model.heads` that registers the net.
    model : str
        deepmd-kit's type of the model.
    intensive : bool
        Whether the value of a supercell equals that of the cell.
    molecular : bool
        Whether it is for molecules only.
    directed : bool
        Whether its net reads equivariant features.
    """

    name: str
    fitting: str = "property"
    model: str = STANDARD
    intensive: bool = False
    molecular: bool = False
    directed: bool = False

    @property
    def atomic(self) -> bool:
        """Whether each atom contributes by itself, with a bias for its element.

        The value is then the sum or the mean of Eq. 16, with the biases of Eq. 17. In
        any other form the model sees the structure as a whole, and its net fits biases
        of its own.
        """
        return self.model == STANDARD


_FORMS = (
    HeadForm("intensive", intensive=True),
    HeadForm("extensive"),
    HeadForm("r2", "r2", "molecular_property", molecular=True),
    HeadForm(
        "dipole_norm", "dipole_norm", "molecular_property",
        molecular=True, directed=True,
    ),
)  # fmt: skip

HEAD_FORMS: Mapping[str, HeadForm] = {form.name: form for form in _FORMS}
"""All forms by name."""

if TYPE_CHECKING:
    HeadKind = str
else:
    HeadKind = Literal[tuple(HEAD_FORMS)]


def find_form(fitting_net: Mapping[str, Any]) -> HeadForm | None:
    """Return the form of a head, None if it is not that of a property.

    Parameters
    ----------
    fitting_net : mapping
        deepmd-kit's parameters of the head's fitting net.

    Returns
    -------
    HeadForm or None

    Examples
    --------
    >>> find_form({"type": "property", "intensive": True}).name
    'intensive'
    >>> find_form({"type": "r2"}).molecular
    True
    >>> find_form({"type": "ener"})
    """
    kind = fitting_net.get("type", "ener")
    intensive = fitting_net.get("intensive", False)
    for form in _FORMS:
        # other models than the standard one do not look at the net's "intensive"
        if form.fitting == kind and (form.intensive == intensive or not form.atomic):
            return form
    return None
