"""Properties as configurations have them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mftscreen.finetune.config.property_config import PropertyConfig
from mftscreen.finetune.strategies import ScratchConfig
from mftscreen.transforms import Transform


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": ["a"]}, "1 components; 2 to 1000"),
        ({"components": 5000}, "5000 components"),
        # without a list of so many names
        ({"components": 10**12}, "1000000000000 components"),
        ({"components": ["a", "a"]}, "two components have one name"),
        ({"components": ["a", "b-c"]}, "'b-c' cannot be a component"),
        ({"components": ["a", "norm"]}, "'norm' cannot be a component"),
        ({"columns": ["x", "y"]}, "2 of them for no components"),
        ({"components": 3, "columns": ["x", "y"]}, "2 of them for 3 components"),
        ({"components": 2, "columns": ["x", "x"]}, "two components have one column"),
        ({"components": 2, "columns": ["x", "y"], "column": "z"}, "give one of both"),
        ({"components": 2, "head": "r2"}, "head: r2 gives one number"),
        ({"kind": "class", "components": 2}, "no components"),
        ({"kind": "class", "head": "extensive"}, "no head"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        PropertyConfig.model_validate(settings)


def test_one_head_has_a_property_for_each_component_and_the_norm() -> None:
    settings = PropertyConfig(components=["bulk", "shear"], unit="GPa", label="moduli")
    transforms = [Transform(kind="standardise", mean=k) for k in (1.0, 2.0)]
    specs = settings.specs("k", transforms)
    assert [spec.name for spec in specs] == ["k_bulk", "k_shear", "k_norm"]
    assert [spec.label for spec in specs][::2] == ["moduli, bulk", "moduli, norm"]
    assert [spec.target for spec in specs] == ["k"] * 3
    assert [spec.transform.mean for spec in specs] == [1.0, 2.0, 0.0]
    assert [spec.is_norm for spec in specs] == [False, False, True]
    (alone,) = PropertyConfig().specs("gap", [Transform()])
    assert (alone.name, alone.target, alone.part) == ("gap", "gap", None)


def test_a_class_predicts_probabilities() -> None:
    settings = PropertyConfig(kind="class")
    (spec,) = settings.specs("metal", [Transform(kind="logistic")])
    assert (spec.kind, spec.unit) == ("class", "probability")
    assert settings.label_source("metal").yes_no
    assert not settings.has_element_bias


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"k": {"components": ["low", "b"]}}, "'k_low' begins with relax_ or ends"),
        ({"k": {"components": ["a", "b"]}, "k_a": {}}, "'k_a' is of both"),
        ({"k": {"components": ["a", "b"]}, "k_norm": {}}, "'k_norm' is of both"),
    ],
)
def test_names_of_components_are_names_of_properties(
    properties: dict[str, Any], message: str
) -> None:
    document = {
        "strategy": "scratch", "name": "m", "properties": properties,
        "data": {"train": ["t.extxyz"]}, "training": {"steps": 1},
    }  # fmt: skip
    with pytest.raises(ValidationError, match=message):
        ScratchConfig.model_validate(document)
