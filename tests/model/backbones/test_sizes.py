from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mftscreen.model.backbones.dpa3.size import DPA3Size
from mftscreen.model.backbones.dpa4.size import DPA4Size
from mftscreen.model.backbones.sevennet.size import SevenNetSize
from mftscreen.model.backbones.sizes import DescriptorSize

SIZES = TypeAdapter(DescriptorSize)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({}, DPA3Size),
        ({"type": "dpa3", "n_layers": 4}, DPA3Size),
        ({"type": "dpa4"}, DPA4Size),
        ({"type": "sevennet", "channels": [8, 4]}, SevenNetSize),
        (SevenNetSize(n_basis=4), SevenNetSize),
    ],
)
def test_the_type_says_of_which_kind_it_is(written: Any, kind: type) -> None:
    found = SIZES.validate_python(written)
    assert type(found) is kind
    assert SIZES.validate_python(found.model_dump()) == found


@pytest.mark.parametrize("written", [{"type": "dpa9"}, {"type": None}, 3, []])
def test_other_kinds_are_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="'type' is one of dpa3, dpa4, sevennet"):
        SIZES.validate_python(written)


def test_keys_of_one_kind_are_none_of_another() -> None:
    with pytest.raises(ValidationError, match="channels"):
        SIZES.validate_python({"type": "dpa3", "channels": [8, 4]})
