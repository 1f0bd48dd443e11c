"""Pages of the command line, a page for each command, from click itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import click

from generated_pages.markdown import definition, escape, from_help, table
from mftscreen.cli import main

__all__ = ["anchor_of", "command_pages"]

FOLDER = "reference/cli"

_REMARK = re.compile(r"\s+\[([^\[\]]+)\]$")
_VERBATIM = "\b"


def command_pages() -> dict[str, str]:
    """Return the pages, by their path below the folder of the documentation."""
    root = click.Context(main, info_name="mftscreen", **main.context_settings)
    commands = list(_subcommands(root))
    pages = {f"{FOLDER}/{context.info_name}.md": _page(context) for context in commands}
    rows = [
        (
            f"[`{context.command_path}`]({context.info_name}.md)",
            from_help(context.command.get_short_help_str(200)),
        )
        for context in commands
    ]
    index = [
        "# Command line",
        _usage(root),
        *_help(main),
        "## Commands",
        table(("command", "what it does"), rows),
        "## Options of all commands",
        "They stand before the name of the command: `mftscreen --verbose rank …`.",
        _options(root),
    ]
    return {f"{FOLDER}/index.md": _joined(index), **pages}


def anchor_of(context: click.Context, option: click.Option) -> str:
    """Return the anchor of an option on the page of its command.

    Parameters
    ----------
    context : click.Context
        Of the command, or of a subcommand of it.
    option : click.Option

    Returns
    -------
    str
        Such as ``--alpha``, and ``show--limit`` of a subcommand.
    """
    below = context.command_path.split()[2:]
    return "-".join(below) + f"--{max(option.opts, key=len).lstrip('-')}"


def _page(context: click.Context) -> str:
    parts = [f"# {context.command_path}", *_described(context)]
    for below in _subcommands(context):
        name = below.info_name
        parts += [f"## {below.command_path} {{ #{name} }}", *_described(below)]
    return _joined(parts)


def _described(context: click.Context) -> list[str]:
    return [_usage(context), *_help(context.command), _options(context)]


def _subcommands(context: click.Context) -> Iterator[click.Context]:
    command = context.command
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is not None and not below.hidden:
            yield click.Context(below, parent=context, info_name=name)


def _usage(context: click.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return _code(" ".join([context.command_path, *pieces]), "text")


def _help(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help, its example as code."""
    paragraphs = []
    for block in (command.help or "").partition("\f")[0].strip().split("\n\n"):
        lines = block.split("\n")
        if lines[0].strip() != _VERBATIM:
            paragraphs.append(from_help(" ".join(block.split())))
            continue
        if lines[1].strip() == "Example:":
            paragraphs.append("**Example**")
            lines = lines[1:]
        paragraphs.append(_code(textwrap.dedent("\n".join(lines[1:]))))
    return paragraphs


def _options(context: click.Context) -> str:
    entries = []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if not isinstance(parameter, click.Option) or record is None:
            continue
        text, remarks = f"  {record[1]}", list[str]()
        while match := _REMARK.search(text):
            text = text[: match.start()]
            remarks.insert(0, match[1])
        remark = f"*{escape('; '.join(remarks))}*" if remarks else ""
        entries.append(
            definition(
                f"`{record[0].replace(' RANGE', '')}`",
                anchor_of(context, parameter),
                [f"{from_help(text.strip())} {remark}".strip()],
            )
        )
    return "\n".join(["**Options**\n", *entries])


def _code(text: str, language: str = "sh") -> str:
    return f"```{language}\n{text.strip()}\n```"


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
