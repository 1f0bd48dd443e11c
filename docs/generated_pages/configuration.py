"""The page of configurations, from the pydantic models of trainings and studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from generated_pages.blocks import Blocks
from generated_pages.markdown import definition, from_docstring, table
from generated_pages.schema import Schema
from mftscreen.finetune.strategies import STRATEGIES, TuneConfig
from mftscreen.study.config import StudyConfig

__all__ = ["configuration_page"]

PAGE = "reference/configuration.md"

_INTRODUCTION = """\
# Configuration

A training is a YAML file for `mftscreen finetune`, or the same keys in a dictionary for
`mftscreen.finetune`. Its `strategy` decides which keys there are. An unknown key is an
error that names the closest valid one, and all problems are listed at once;
`mftscreen recipes validate FILE` looks for them without training.
`mftscreen recipes list` shows complete examples.

* Relative paths start at the folder of the file; in Python at the current folder.
* `base: FILE` takes the top-level keys of another file over. A key that is given
  replaces the whole block of the base, and `key: null` drops it.
* `preset: qm9` or `preset: matbench` takes every key that is not given from a column of
  the paper's Table 8 (arXiv:2601.08486).
* The configuration, with all defaults, is written to the run folder (`config.yaml`) and
  to the model's card.
"""

_STUDIES = """\
A study is a YAML file for `mftscreen study run`: a grid of trainings.
"""


def configuration_page() -> dict[str, str]:
    """Return the page, by its path below the folder of the documentation."""
    schema = TypeAdapter(TuneConfig).json_schema(schema_generator=Schema)
    models = schema["$defs"]
    strategies = {name: models[kind.__name__] for name, kind in STRATEGIES.items()}
    blocks = Blocks(models, [kind.__name__ for kind in STRATEGIES.values()])
    study = StudyConfig.model_json_schema(schema_generator=Schema)
    top = StudyConfig.__name__
    grids = Blocks({**study.pop("$defs"), top: study}, [top], "study")
    parts = [
        _INTRODUCTION,
        "## Strategies { #strategies }",
        *(_strategy(name, model) for name, model in strategies.items()),
        "## Which strategy has which key { #keys }",
        _overview(strategies),
        "## Keys at the top { #top }",
        *_top_keys(strategies, blocks),
        "## Blocks { #blocks }",
        *blocks.sections(),
        "## Studies { #study }",
        _STUDIES,
        *grids.keys(study, "study"),
        *grids.sections(),
    ]
    return {PAGE: "\n\n".join(parts) + "\n"}


def _strategy(name: str, model: Mapping[str, Any]) -> str:
    paragraphs = from_docstring(model.get("description", "")).split("\n\n")
    return definition(f"`strategy: {name}`", f"strategy-{name}", paragraphs)


def _overview(strategies: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of keys and strategies."""
    rows = []
    for key in _all_keys(strategies):
        marks = [
            ("**required**" if key in model["required"] else "optional")
            if key in model["properties"]
            else ""
            for model in strategies.values()
        ]
        rows.append((f"[`{key}`](#{key})", *marks))
    return table(("key", *(f"`{name}`" for name in strategies)), rows)


def _top_keys(
    strategies: Mapping[str, Mapping[str, Any]], blocks: Blocks
) -> Iterator[str]:
    """Yield an entry for each key, which says where strategies differ in it."""
    for key in _all_keys(strategies):
        texts: dict[str, list[str]] = {}
        for name, model in strategies.items():
            if (node := model["properties"].get(key)) is None:
                continue
            if key == "strategy":
                node = {"enum": list(strategies), "description": node["description"]}
            text = blocks.meaning(node, required=key in model["required"])
            texts.setdefault(text, []).append(name)
        paragraphs = [
            text if len(texts) == 1 else f"For `{'`, `'.join(names)}`: {text}"
            for text, names in texts.items()
        ]
        yield definition(f"`{key}`", key, paragraphs)


def _all_keys(strategies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    every = (key for model in strategies.values() for key in model["properties"])
    return list(dict.fromkeys(["strategy", *every]))
