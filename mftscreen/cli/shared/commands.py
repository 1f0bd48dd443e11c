"""Commands that say what was probably meant, and drop nothing that was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from mftscreen.suggestions import did_you_mean

__all__ = ["Choice", "Command", "Group"]


class Choice(click.Choice[str]):
    """One of several words; another one is refused with the closest of them."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message for a word that is none of them."""
        message = super().get_invalid_choice_message(value, ctx).rstrip(".")
        return message + did_you_mean(str(value), known=self.choices)


class Command(click.Command):
    """A command that refuses an option which is given twice and counts once.

    click would take the last value and say nothing.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments, as click asks of a command."""
        # the parser takes what it has read off the list
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        if not ctx.resilient_parsing:
            _check_repeated(ctx, given)
        return super().parse_args(ctx, args)


def _check_repeated(ctx: click.Context, given: Sequence[click.Parameter]) -> None:
    for option, times in Counter(given).items():
        if not isinstance(option, click.Option) or times == 1:
            continue
        # a flag says the same when it is said again
        if not (option.multiple or option.count or option.is_flag):
            name = max(option.opts, key=len)
            msg = f"{name} is given {times} times and takes one value: {option.help}"
            raise click.UsageError(msg, ctx)


class Group(Command, click.Group):
    """A group of such commands, which suggests one in place of one that it lacks."""

    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that arguments begin with, as click asks of a group."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not (ctx.resilient_parsing or name.startswith("-")):
            ctx.fail(f"no command {name!r}{did_you_mean(name, known=known)}")
        return super().resolve_command(ctx, args)
