"""The block of a property: its labels, its head and how it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from mftscreen.data.label_source import LabelSource
from mftscreen.finetune.config.fields import Components, Settings
from mftscreen.head_forms import HEAD_FORMS, HeadForm, HeadKind
from mftscreen.properties import NORM, Bias, Part, PropertyKind, PropertySpec
from mftscreen.transforms import Transform, TransformKind

__all__ = ["PropertyConfig"]


class PropertyConfig(Settings):
    """A downstream property: its labels, its head and how it is trained."""

    label: str = ""
    """For people, e.g. ``refractive index``; by default the property's name."""
    unit: str = "1"
    """Of the labels; ``"1"`` if dimensionless."""
    kind: PropertyKind = "number"
    """``class``: labels are yes or no (true or false, 1 or 0); predictions are the
    probability of yes, calibrated on rows that were held out."""
    column: str | None = None
    """Name of the label in the files; by default the property's name."""
    components: Components | None = None
    """Of a property with several numbers of one unit: their names, or how many there
    are (``0``, ``1``, …). A label is a list of them. One head predicts all, each is a
    property ``<name>_<component>``, and so is the norm of all, ``<name>_norm``."""
    columns: list[str] | None = None
    """In place of `column`: one for each of the `components`."""
    head: HeadKind = "intensive"
    """Eq. 16: ``intensive`` is the mean over atoms, ``extensive`` the sum. ``r2`` and
    ``dipole_norm`` are for molecules."""
    transform: Literal["identity", "log10", "standardise"] = "identity"
    """What is done to labels before training, and undone at prediction."""
    bias: Bias = "per_element"
    """Least-squares bias for each element (Eq. 17), or one for all. Where a validation
    or test set holds elements that the training set lacks, ``global`` is taken (the
    paper's dielectric rule). ``dipole_norm`` has none."""
    loss: Literal["mse", "mae", "smooth_mae"] = "smooth_mae"
    """The paper: mse for QM9, smooth_mae for MatBench (Table 8). A class has binary
    cross entropy instead."""
    neurons: list[PositiveInt] = Field(default=[240, 240, 240], min_length=1)
    """Hidden layers of the head."""
    formula_atoms: PositiveInt | None = None
    """Atoms of the formula unit that a label is of, where it means nothing for others:
    5 for an energy per cell of a perovskite. Other structures are refused."""

    @property
    def form(self) -> HeadForm:
        """What is known of the head's form."""
        return HEAD_FORMS[self.head]

    @model_validator(mode="after")
    def _transform_fits_head(self) -> PropertyConfig:
        if self.transform != "identity" and not self.form.intensive:
            fitting = ", ".join(f.name for f in HEAD_FORMS.values() if f.intensive)
            msg = (
                f"transform: {self.transform} is for head: {fitting}; what the head "
                f"{self.head} gives has to be the property itself"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _components_have_columns(self) -> PropertyConfig:
        if self.columns is not None:
            if self.column is not None:
                msg = "'column' holds lists, 'columns' a number each: give one of both"
                raise ValueError(msg)
            if self.components is None or len(self.columns) != self.n_components:
                n = "no" if self.components is None else self.n_components
                msg = f"columns: {len(self.columns)} of them for {n} components"
                raise ValueError(msg)
            if len(set(self.columns)) < len(self.columns):
                msg = "columns: two components have one column"
                raise ValueError(msg)
        if self.components is not None and not self.form.atomic:
            msg = f"head: {self.head} gives one number, and there are 'components'"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _class_has_no_scale(self) -> PropertyConfig:
        given = {
            "components": self.components is not None,
            "transform": self.transform != "identity",
            "unit": self.unit != "1",
            "head": self.head != "intensive",
        }
        if self.kind == "class" and any(given.values()):
            names = ", ".join(name for name, is_given in given.items() if is_given)
            msg = f"kind: class has probabilities of one thing, and no {names}"
            raise ValueError(msg)
        return self

    @property
    def transform_kind(self) -> TransformKind:
        """What is done to labels before a neural head is trained."""
        return "logistic" if self.kind == "class" else self.transform

    @property
    def has_element_bias(self) -> bool:
        """Whether the neural head has a bias for each element (Eq. 17)."""
        return self.kind == "number" and self.bias == "per_element"

    @property
    def component_names(self) -> list[str]:
        """Names of the components; none for a single number."""
        if isinstance(self.components, int):
            return [str(k) for k in range(self.components)]
        return list(self.components or ())

    @property
    def n_components(self) -> int:
        """How many numbers a label has."""
        return len(self.component_names) or 1

    def label_source(self, name: str) -> LabelSource:
        """Return where the labels of the property stand in the files."""
        n = self.n_components if self.components is not None else None
        columns = tuple(self.columns or [self.column or name])
        return LabelSource(name, columns, n, self.kind == "class")

    def property_names(self, name: str) -> list[str]:
        """Return the names of the properties that its head predicts, the norm last."""
        if self.components is None:
            return [name]
        return [f"{name}_{component}" for component in (*self.component_names, NORM)]

    def specs(self, name: str, transforms: Sequence[Transform]) -> list[PropertySpec]:
        """Return the properties that its head predicts, the norm last.

        Parameters
        ----------
        name : str
            Of the head.
        transforms : sequence of Transform
            One for each component, fitted.
        """
        label = self.label or name
        known: dict[str, Any] = {
            "kind": self.kind, "head": self.head, "formula_atoms": self.formula_atoms,
            "unit": "probability" if self.kind == "class" else self.unit,
        }  # fmt: skip
        if self.components is None:
            own = PropertySpec(name=name, label=label, transform=transforms[0], **known)
            return [own]
        *names, norm = self.property_names(name)
        parts = [
            PropertySpec(
                name=own,
                label=f"{label}, {component}",
                transform=transform,
                part=Part(of=name, index=index),
                **known,
            )
            for index, (own, component, transform) in enumerate(
                zip(names, self.component_names, transforms, strict=True)
            )
        ]
        whole = Part(of=name)
        return [
            *parts,
            PropertySpec(name=norm, label=f"{label}, {NORM}", part=whole, **known),
        ]
