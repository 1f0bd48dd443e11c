"""Every key of every configuration is in the reference, with a meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from generated_pages.configuration import configuration_page
from pydantic import BaseModel

from mftscreen.finetune.strategies import STRATEGIES
from mftscreen.model.backbones.dpa4.size import DPA4Size
from mftscreen.study.config import StudyConfig

(TEXT,) = configuration_page().values()
ENTRIES = dict(
    re.findall(r"^`\S+` \{ #(\S+) \}\n:   (.*(?:\n+    .*)*)", TEXT, re.MULTILINE)
)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _keys(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        yield f"{place}{name}", model
        # one of a kind, or a list of them, is described once
        inner = list(dict.fromkeys(_models(field.annotation)))
        for below in inner:
            kind = below.model_fields["type"].default if len(inner) > 1 else ""
            yield from _keys(below, f"{place}{name}.{kind}{'.' if kind else ''}")


def _all_keys() -> dict[str, type[BaseModel]]:
    tops: list[tuple[Any, str]] = [(kind, "") for kind in STRATEGIES.values()]
    every = dict(key for top, place in tops for key in _keys(top, place))
    return every | dict(_keys(StudyConfig, "study."))


# a block that stands in two places is described in the first
ALSO = {"loss.": "auxiliary.loss."}


@pytest.mark.parametrize("key", _all_keys())
def test_key_has_type_and_meaning(key: str) -> None:
    for place, first in ALSO.items():
        key = first + key.removeprefix(place) if key.startswith(place) else key
    kind, _, meaning = ENTRIES[key].partition(". ")
    assert kind.startswith(("*", "For `"))
    # deepmd-kit's own, which its documentation explains
    assert meaning or _all_keys()[key] is DPA4Size


def test_defaults_and_limits() -> None:
    assert ENTRIES["training.batch_size"].startswith(
        "*whole number above 0*, default `512`. Atoms per batch"
    )
    assert ENTRIES["training.steps"].startswith("*whole number above 0*, **required**.")
    assert "list of 2 numbers above 0" in ENTRIES["training.learning_rate"]
    assert ENTRIES["data.validation_fraction"].startswith(
        "*number above 0 and below 0.5*, default `0.05`."
    )


def test_table_says_which_strategy_has_which_key() -> None:
    rows = {
        line.split("`")[1]: [cell.strip() for cell in line.split("|")[2:-1]]
        for line in TEXT.splitlines()
        if line.startswith("| [`")
    }
    names = list(STRATEGIES)
    assert rows["auxiliary"][names.index("mft")] == "**required**"
    assert rows["auxiliary"][names.index("lp")] == ""
    for key, cells in rows.items():
        for name, cell in zip(names, cells, strict=True):
            field = STRATEGIES[name].model_fields.get(key)
            expected = "" if field is None else "optional"
            required = field is not None and field.is_required()
            assert cell == ("**required**" if required else expected)


def test_anchors_are_unique_and_links_have_one() -> None:
    anchors = re.findall(r"\{ #(\S+) \}$", TEXT, re.MULTILINE)
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= set(anchors)
