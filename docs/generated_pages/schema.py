"""What a JSON schema of pydantic allows, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

__all__ = ["Schema", "default_of", "type_in_words"]

_PLAIN = {
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
    "string": "text",
}
_SOURCE = "source"
_FORMATS = {"path": "path", _SOURCE: "path (in Python also rows)"}
_LIMITS = {
    "exclusiveMinimum": "above",
    "minimum": "from",
    "exclusiveMaximum": "below",
    "maximum": "up to",
}


class Schema(GenerateJsonSchema):
    """Schemas in which labelled structures have a type of their own."""

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """Return what stands for the one such validator that configurations have."""
        return {"type": "string", "format": _SOURCE}


def type_in_words(node: Mapping[str, Any], link: Callable[[str], str]) -> str:
    """Return what values a schema allows.

    Parameters
    ----------
    node : mapping
    link : callable
        Takes the name of a model; returns a link to its section.

    Examples
    --------
    >>> type_in_words({"type": "integer", "exclusiveMinimum": 0}, str)
    'whole number above 0'
    >>> type_in_words({"type": "array", "items": {"type": "string"}}, str)
    'list of texts'
    """
    if node.get("default", node) is None:
        kept = [part for part in node["anyOf"] if part != {"type": "null"}]
        return _either([type_in_words(part, link) for part in kept])
    if "$ref" in node:
        return link(node["$ref"].rsplit("/", 1)[-1])
    if "const" in node:
        return _code(node["const"])
    if "enum" in node:
        return _either([_code(value) for value in node["enum"]])
    for choice in ("anyOf", "oneOf"):
        if choice in node:
            parts = [type_in_words(part, link) for part in node[choice]]
            return _either(list(dict.fromkeys(parts)))
    kind = node.get("type")
    if kind == "array":
        return _list_in_words(node, link)
    if kind == "object":
        items = node.get("additionalProperties")
        if not isinstance(items, Mapping):
            return "mapping of names to values"
        return f"mapping of names to {_many(type_in_words(items, link))}"
    if node.get("format") in _FORMATS:
        return _FORMATS[node["format"]]
    if kind in ("integer", "number"):
        limits = [f"{word} {node[k]}" for k, word in _LIMITS.items() if k in node]
        return " ".join([_PLAIN[kind], " and ".join(limits)]).strip()
    return _PLAIN.get(str(kind), "anything")


def _list_in_words(node: Mapping[str, Any], link: Callable[[str], str]) -> str:
    if "prefixItems" in node:
        parts = [type_in_words(part, link) for part in node["prefixItems"]]
        same = len(set(parts)) == 1
        return f"list of {len(parts)} " + (
            _many(parts[0]) if same else ", ".join(parts)
        )
    inner = type_in_words(node.get("items", {}), link)
    least, most = node.get("minItems", 0), node.get("maxItems")
    if least and least == most:
        return f"list of {least} {_many(inner)}"
    return f"list of {'one or more ' if least else ''}{_many(inner)}"


def _many(words: str) -> str:
    """Return what stands for several values."""
    return re.sub(r"^(text|path|whole number|number|list|mapping)\b", r"\1s", words)


def _either(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} or {parts[-1]}"


def default_of(node: Mapping[str, Any], *, required: bool) -> str:
    """Return in Markdown what holds where a key is not given.

    Parameters
    ----------
    node : mapping
        Schema of the key.
    required : bool

    Examples
    --------
    >>> default_of({"default": 0.5}, required=False)
    'default `0.5`'
    """
    if required:
        return "**required**"
    if "default" not in node or node["default"] in (None, "", [], {}):
        return "optional"
    if isinstance(node["default"], Mapping):
        return "by default that of its keys"
    return f"default {_code(node['default'])}"


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"
