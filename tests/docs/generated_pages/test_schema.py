"""Types of configuration keys, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from generated_pages.schema import Schema, default_of, type_in_words
from pydantic import Field, TypeAdapter

from mftscreen.finetune.config.fields import LabelledTests, Seed, Source, Sources


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Literal["a", "b", "c"], "`a`, `b` or `c`"),
        (Literal["a"], "`a`"),
        (bool, "`true` or `false`"),
        (Path, "path"),
        (Source, "path (in Python also rows)"),
        (Sources, "list of paths (in Python also rows)"),
        (LabelledTests, "mapping of names to paths (in Python also rows)"),
        (Annotated[float, Field(ge=0, lt=0.5)], "number from 0 and below 0.5"),
        (Seed, "whole number from 0 and below 4294967296"),
        (Annotated[list[str], Field(min_length=1)], "list of one or more texts"),
        (tuple[float, float], "list of 2 numbers"),
        (int | list[str], "whole number or list of texts"),
        (dict[str, int], "mapping of names to whole numbers"),
    ],
)
def test_type_in_words(kind: object, words: str) -> None:
    schema = TypeAdapter(kind).json_schema(schema_generator=Schema)
    assert type_in_words(schema, str) == words


def test_a_link_stands_for_a_block() -> None:
    assert (
        type_in_words({"$ref": "#/$defs/DataConfig"}, "<{}>".format) == "<DataConfig>"
    )


def test_null_is_not_shown_where_it_is_the_default() -> None:
    node = {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    assert type_in_words(node, str) == "whole number"
    assert default_of(node, required=False) == "optional"
    assert type_in_words({**node, "default": 3}, str) == "whole number or `null`"
