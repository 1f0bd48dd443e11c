from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from mftscreen.cli.shared.commands import Choice, Command, Group


@click.command(cls=Command)
@click.argument("files", nargs=-1)
@click.option("-p", "--property", "name", help="Of one thing.")
@click.option("--also", multiple=True)
@click.option("-q", "--quiet", is_flag=True)
@click.option("-v", "verbose", count=True)
@click.option("--on/--off")
def command(**values: object) -> None:
    click.echo(values["name"])


@pytest.mark.parametrize("first", ["-p", "--property"])
@pytest.mark.parametrize("second", [["-p", "gap"], ["--property=gap"], ["-pgap"]])
def test_an_option_that_counts_once_is_not_given_twice(
    first: str, second: list[str]
) -> None:
    done = CliRunner().invoke(command, [first, "homo", *second])
    assert done.exit_code == 2
    assert "--property is given 2 times and takes one value: Of one" in done.stderr


def test_what_may_be_said_again_is() -> None:
    again = ["--also", "a", "--also", "b", "-q", "-q", "-vv", "-v", "--on", "--on"]
    done = CliRunner().invoke(command, ["one", "-p", "gap", "two", *again])
    assert (done.exit_code, done.stdout) == (0, "gap\n"), done.stderr


def test_a_command_that_is_close_is_suggested() -> None:
    group = Group("all", commands={"predict": command})
    done = CliRunner().invoke(group, ["predct"])
    assert done.exit_code == 2
    assert "no command 'predct'; did you mean 'predict'?" in done.stderr
    assert CliRunner().invoke(group, ["predict", "-p", "gap"]).stdout == "gap\n"
    assert "No such option '-z'" in CliRunner().invoke(group, ["-z"]).stderr


def test_commands_and_groups_below_are_of_the_same_kind() -> None:
    group = Group("all")
    made = [group.command("one")(lambda: None), group.group("two")(lambda: None)]
    assert list(map(type, made)) == [Command, Group]


def test_a_choice_that_is_close_is_suggested() -> None:
    with pytest.raises(click.BadParameter) as refused:
        Choice(["pareto", "desirability"]).convert("parto", None, None)
    assert refused.value.message.endswith("'desirability'; did you mean 'pareto'?")
