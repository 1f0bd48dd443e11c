from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.cli.shared.commands import Choice, Command


def _commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, (*path, name))


@pytest.mark.parametrize("path", list(_commands(main)), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert f"mftscreen {' '.join(path)}" in result.output


def _find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("path", list(_commands(main)), ids=" ".join)
def test_no_option_is_dropped_and_close_words_are_suggested(
    path: tuple[str, ...],
) -> None:
    command = _find(path)
    assert isinstance(command, Command)
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice):
            assert isinstance(parameter.type, Choice)


def test_wrong_usage_is_exit_code_2() -> None:
    assert CliRunner().invoke(main, ["rank"]).exit_code == 2
    assert CliRunner().invoke(main, ["sort"]).exit_code == 2
