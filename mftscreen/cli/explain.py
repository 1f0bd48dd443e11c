"""``mftscreen explain``."""

from __future__ import annotations

import click

from mftscreen.cli.shared.commands import Command
from mftscreen.cli.shared.completion import complete_faults
from mftscreen.suggestions import did_you_mean

__all__ = ["STATUSES", "command", "docstring_text", "explanation", "known_faults"]

STATUSES = {
    "ok": "there are values",
    "fast_only": "of a funnel: seen by the fast model alone (see `--keep`)",
    "not_finite": "the model gives no finite number for this structure",
    "out_of_memory": "too large for the memory that is free, even alone; tried again "
    "when the same command is given again",
    "relaxation_failed": "the relaxation went astray; the reason says how",
    "worker_died": "the process that evaluated it was killed, also when it was alone",
}
"""Values of the column status that are no class of their own."""


@click.command("explain", cls=Command)
@click.argument("name", required=False, shell_complete=complete_faults)
def command(name: str | None) -> None:
    """Say what an error means and what helps.

    NAME is that of an error or a warning, or a value of the column status. Without it,
    all are listed.

    \b
    Example:
      mftscreen explain
      mftscreen explain DataError
      mftscreen explain unknown_element
    """
    from mftscreen.errors import MftscreenError

    faults = known_faults()
    if name is None:
        firsts = {n: explanation(k).partition("\n")[0] for n, k in faults.items()}
        width = max(map(len, firsts))
        for known, summary in (firsts | STATUSES).items():
            click.echo(f"{known:{width}}  {summary}")
        return
    if name in STATUSES:
        click.echo(f"{name}: {STATUSES[name]}")
        return
    named = (faults | faults_by_status()).get(name)
    if named is None:
        hint = did_you_mean(name, known=[*faults, *STATUSES, *faults_by_status()])
        msg = f"no error or status {name!r}; 'mftscreen explain' lists them{hint}"
        raise MftscreenError(msg)
    click.echo(f"{named.__name__}: {explanation(named)}")


def known_faults() -> dict[str, type[Exception]]:
    """Return the errors and warnings of mftscreen, by their names."""
    from mftscreen import errors
    from mftscreen.data.readers import UnknownFormatError
    from mftscreen.screen.candidates.elements import FilteredError

    own = [getattr(errors, name) for name in errors.__all__]
    every = [*own, FilteredError, UnknownFormatError]
    return {kind.__name__: kind for kind in sorted(every, key=lambda k: k.__name__)}


def faults_by_status() -> dict[str, type[Exception]]:
    """Return the errors that rows may have, by what the column status has of them."""
    kinds = known_faults().values()
    found = {vars(kind).get("status"): kind for kind in kinds}
    return {status: kind for status, kind in found.items() if status is not None}


def explanation(kind: type[Exception]) -> str:
    """Return what a class of errors says of itself, without its parameters."""
    import re

    return re.sub(r":\w+:`([^`]*)`", r"\1", docstring_text(kind)).replace("``", "'")


def docstring_text(kind: type[Exception]) -> str:
    """Return the text of a docstring, without its sections."""
    import inspect
    import re

    return re.split(r"\n\n\w+\n-+\n", inspect.getdoc(kind) or "")[0]
