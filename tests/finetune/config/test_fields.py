from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mftscreen.finetune.config.fields import BranchName, Element, Seed, Tests


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Element, ["H", "Og"], ["X", "si", "", "Xx"]),
        (BranchName, ["OMat24", "a-b_c", "é"], ["", "v1.1", "a b", "a/b"]),
        (Seed, [0, 2**32 - 1], [-1, 2**32, 0.5]),
        (
            Tests,
            [{}, {"ood": "a.csv", "training": "b.csv"}],
            [{name: "a.csv"} for name in ("train", "validation", "n_train")],
        ),
    ],
)
def test_values_of_a_kind(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    for value in good:
        adapter.validate_python(value)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)
