"""Every command and option is in the reference."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from generated_pages.commands import command_pages

from mftscreen.cli import main

PAGES = command_pages()


def _below(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _below(inner, (*path, name))


def _find(path: tuple[str, ...]) -> click.Command:
    command: click.Command | None = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return command


@pytest.mark.parametrize("path", list(_below(main, ())), ids=" ".join)
def test_page_has_usage_options_and_example(path: tuple[str, ...]) -> None:
    command = _find(path)
    page = PAGES[f"reference/cli/{path[0] if path else 'index'}.md"]
    name = " ".join(("mftscreen", *path))
    assert f"# {name}" in page or not path
    usage = next(line for line in page.splitlines() if line.startswith(f"{name} ["))
    assert "**Example**\n\n```sh\n" in page
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert parameter.make_metavar(click.Context(command)) in usage
            continue
        assert isinstance(parameter, click.Option)
        longest = max(parameter.opts, key=len)
        anchor = f"{'-'.join(path[1:])}--{longest.lstrip('-')}"
        (line,) = (
            line for line in page.splitlines() if line.endswith(f" {{ #{anchor} }}")
        )
        for flag in parameter.opts:
            assert flag in line.split("`")[1].replace(",", " ").split()


def test_text_of_an_option_is_that_of_its_help() -> None:
    page = PAGES["reference/cli/rank.md"]
    entry = page.split("{ #--alpha }\n")[1].split("\n\n")[0]
    assert entry.startswith(":   Flag candidates with an OOD p-value up to this.")
    assert "default: 0.05" in entry
