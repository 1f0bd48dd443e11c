"""The blocks that a configuration is made of, and where it has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from generated_pages.markdown import definition, from_docstring
from generated_pages.schema import default_of, type_in_words

__all__ = ["Blocks"]


class Blocks:
    """The pydantic models below the top of a configuration.

    Parameters
    ----------
    definitions : mapping
        Model name to JSON schema.
    tops : sequence of str
        The models that stand for a whole file.
    prefix : str
        What anchors begin with; empty for none.
    """

    def __init__(
        self, definitions: Mapping[str, Any], tops: list[str], prefix: str = ""
    ) -> None:
        self.definitions = definitions
        self.places = _places(definitions, tops)
        self._anchors = {}
        for model, places in self.places.items():
            parts = (prefix, *_parts(places[0]), self.kind(model))
            self._anchors[model] = ".".join(filter(None, parts))

    def kind(self, model: str) -> str:
        """Return the ``type`` that a block of several kinds has; empty for others."""
        node = self.definitions[model]["properties"].get("type", {})
        return str(node.get("const", ""))

    def sections(self) -> Iterator[str]:
        """Yield a heading, a text and the keys of each block, in Markdown."""
        for model, places in self.places.items():
            title = ", ".join(f"`{place}`" for place in places)
            if kind := self.kind(model):
                title += f" of `type: {kind}`"
            yield f"### {title} {{ #block-{self._anchors[model]} }}"
            node = self.definitions[model]
            yield from_docstring(node.get("description", ""))
            yield from self.keys(node, self._anchors[model])

    def keys(self, node: Mapping[str, Any], anchor: str) -> Iterator[str]:
        """Yield an entry for each key of a model, in Markdown.

        Parameters
        ----------
        node : mapping
            JSON schema of the model.
        anchor : str
            What those of its keys begin with.
        """
        for key, value in node["properties"].items():
            text = self.meaning(value, required=key in node.get("required", ()))
            yield definition(f"`{key}`", f"{anchor}.{key}", [text])

    def meaning(self, value: Mapping[str, Any], *, required: bool) -> str:
        """Return type, default and description of a key, in Markdown.

        Parameters
        ----------
        value : mapping
            JSON schema of the key.
        required : bool
        """
        kind = type_in_words(value, self._link)
        # pydantic leaves a text out that is also that of the block
        model = self.definitions.get(value.get("$ref", "").rsplit("/", 1)[-1], {})
        text = from_docstring(value.get("description", model.get("description", "")))
        return f"*{kind}*, {default_of(value, required=required)}. {text}".strip()

    def _link(self, model: str) -> str:
        kind = f" of `type: {kind}`" if (kind := self.kind(model)) else ""
        return f"[`{self.places[model][0]}`{kind}](#block-{self._anchors[model]})"


def _places(definitions: Mapping[str, Any], tops: list[str]) -> dict[str, list[str]]:
    """Return the models below the tops, each with all places that have it."""
    found: dict[str, list[str]] = {}

    def enter(model: str, place: str) -> None:
        for key, node in definitions[model]["properties"].items():
            here = f"{place}.{key}" if place else key
            for below, there in _references(node, here):
                places = found.setdefault(below, [])
                if there not in places:
                    places.append(there)
                    enter(below, there)

    for top in tops:
        enter(top, "")
    return found


def _references(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield the models that a schema names, with the place of each."""
    if isinstance(node, list):
        for part in node:
            yield from _references(part, place)
    elif isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rsplit("/", 1)[-1], place
        for key in ("anyOf", "oneOf", "items"):
            yield from _references(node.get(key), place)
        yield from _references(node.get("additionalProperties"), f"{place}.NAME")


def _parts(place: str) -> list[str]:
    return [part for part in place.split(".") if part != "NAME"]
