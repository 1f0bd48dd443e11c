"""``mftscreen ood``: reference sets and distances to them, without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.ood_map import map_command
from mftscreen.cli.shared.commands import Group
from mftscreen.cli.shared.options import (
    LocalPath,
    alpha_option,
    jobs_option,
    model_option,
    output_option,
    policy_option,
    quiet_option,
)
from mftscreen.cli.shared.reference_sets import (
    TABLE_HELP,
    TABLES,
    fit_with_progress,
    measure_with_progress,
    open_chosen,
    property_option,
    reference_option,
    warn_if_too_small,
)
from mftscreen.cli.shared.standard_output import from_elsewhere, standard_output
from mftscreen.cli.shared.summary import counted, say_written

if TYPE_CHECKING:
    from mftscreen.errors import DataError
    from mftscreen.ood.ofm.orbitals import Table
    from mftscreen.ood.reference.novelty import Novelty, Verdict
    from mftscreen.screen.candidates.stream import Candidate
    from mftscreen.screen.order.ranking import OODPolicy
    from mftscreen.screen.result.store import Record

__all__ = ["command"]

COLUMNS = [
    "id", "formula", "ood_p_value", "ood", "distance", "nearest", "unseen_pairs",
    "low_dimensional", "status", "reason",
]  # fmt: skip


@click.group("ood", cls=Group)
def command() -> None:
    """Find what is out of distribution, without a model.

    Structures are compared by their orbital field matrices (OFM). A p-value is the
    share of a reference set that lies at least as far from the rest of it as the
    structure does. A small one means: unlike anything in the reference set. A large
    one is no proof of the contrary.

    Structures come from an ase.db, an extended XYZ file (also .gz, .xz) or a MatBench
    .json.gz; no label is needed.

    \b
    Example:
      mftscreen ood fit training.extxyz -o reference.npz
      mftscreen ood score candidates.db --reference reference.npz -o scores.csv
      mftscreen ood explain candidates.db --id 17 --reference reference.npz
      mftscreen ood map reference.npz --candidates candidates.db -o map.html
    """


command.add_command(map_command)


@command.command("fit")
@click.argument("data", type=LocalPath())
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    required=True,
    help="File to write, FILE.npz.",
)
@click.option(
    "--table", type=TABLES, default="current", show_default=True, help=TABLE_HELP
)
@jobs_option
@quiet_option
@click.pass_context
def fit_command(
    ctx: click.Context, data: Path, output: Path, table: Table, jobs: int, quiet: bool
) -> None:
    """Make a reference set of the structures in DATA.

    Structures without an OFM (not periodic, an element beyond Pu, unreadable) are
    listed and left out; the exit code is then 3. Of structures with equal OFM and
    volume (duplicates, supercells), the first one is kept.

    \b
    Example:
      mftscreen ood fit matbench_dielectric.json.gz -o reference.npz -j 2
    """
    from mftscreen.errors import DataError
    from mftscreen.ood.reference.density import OFMDensityDetector
    from mftscreen.ood.reference.reference_set import write_reference
    from mftscreen.writing import check_place

    if output.suffix != ".npz":
        msg = "a reference set is written to a .npz file"
        raise DataError(msg, path=output)
    check_place(output)
    detector = OFMDensityDetector(table=table)
    reference, n_failed = fit_with_progress(data, detector, jobs, quiet)
    write_reference(output, reference)
    n, n_twins = len(reference.ids), reference.n_twins
    click.echo(
        f"{n + n_twins + n_failed} structures: {n} kept, {n_twins} left out as equal "
        f"to an earlier one, {n_failed} without an orbital field matrix",
        err=True,
    )
    say_written(counted(n, "reference structure"), output, quiet=quiet)
    warn_if_too_small(reference, detector.alpha)
    if n_failed:
        ctx.exit(EXIT_FAILED_ROWS)


@command.command("score")
@click.argument("database", type=LocalPath())
@reference_option
@model_option
@property_option
@policy_option
@alpha_option
@output_option
@jobs_option
@quiet_option
@click.pass_context
def score_command(
    ctx: click.Context,
    database: Path,
    source: Path | None,
    model: str | None,
    property_name: str | None,
    policy: OODPolicy,
    alpha: float,
    output: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Score the structures of DATABASE against a reference set.

    Each gets a row with its p-value, which is that of its mean distance to the two
    nearest reference structures, a flag, the nearest one and the distance (1/Bohr) to
    that, and the orbital pairs that meet nowhere in the reference set.
    Rows keep their order; '--ood demote' moves flagged ones to the end, '--ood exclude'
    drops them.

    \b
    Example:
      mftscreen ood score candidates.db --reference reference.npz -o scores.csv
      mftscreen ood score candidates.db -p dielectric --ood exclude --alpha 0.01
    """
    from mftscreen.errors import DataError
    from mftscreen.ood.reference.novelty import flag
    from mftscreen.screen.result.store import check_output

    if output is not None:
        check_output(output, database, source)
    reference = open_chosen(ctx, source, model, property_name)
    warn_if_too_small(reference, alpha)
    keep = output is not None and output.suffix == ".db"
    measured = measure_with_progress(database, reference, jobs, quiet)
    judged = ((each, own, flag(own, alpha)) for each, own in measured)
    counts: Counter[str] = Counter()
    found = _records(judged, policy, counts, keep=keep)
    # the first one before a header is written: there may be nothing to be read
    records: Iterable[Record] = chain(list(islice(found, 1)), found)
    if not counts:
        msg = "holds no structure"
        raise DataError(msg, path=database)
    if policy == "demote":
        # failed ones have no flag and go last, as everywhere
        records = sorted(
            records, key=lambda r: 2 if r[0]["status"] != "ok" else int(r[0]["ood"])
        )
    problems = _write(records, output)
    if output is not None:
        n_rows = counts.total() - (counts["flagged"] if policy == "exclude" else 0)
        say_written(counted(n_rows, "row"), output, quiet=quiet)
    dropped = " (left out)" if policy == "exclude" else ""
    n, n_flagged = counts.total(), counts.pop("flagged", 0)
    del counts["ok"]
    click.echo(
        f"{n} structures: {n_flagged} out of distribution{dropped}, "
        f"{counts.total()} failed" + "".join(f", {k}: {v}" for k, v in counts.items()),
        err=True,
    )
    if problems:
        raise problems[0]
    if counts:
        ctx.exit(EXIT_FAILED_ROWS)


def _write(records: Iterable[Record], output: Path | None) -> list[DataError]:
    """Write a table to a file or standard output; return what stopped the latter."""
    from mftscreen.screen.result.store import write_csv, write_records

    problems: list[DataError] = []
    if output is not None:
        write_records(output, COLUMNS, records, ids=("id", "nearest"))
        return problems
    with standard_output(problems) as stream:
        write_csv(stream, COLUMNS, from_elsewhere(records))
    return problems


@command.command("explain")
@click.argument("database", type=LocalPath())
@click.option("--id", "name", required=True, help="Id of the structure.")
@reference_option
@model_option
@property_option
@alpha_option
@click.pass_context
def explain_command(
    ctx: click.Context,
    database: Path,
    name: str,
    source: Path | None,
    model: str | None,
    property_name: str | None,
    alpha: float,
) -> None:
    """Say why a structure of DATABASE is like a reference set, or unlike it.

    The id is that of 'ood score' and 'rank': the row of an ase.db, a name in the file,
    or FILE#NUMBER.

    \b
    Example:
      mftscreen ood explain candidates.db --id 17 --reference reference.npz
    """
    from mftscreen.errors import DataError, MftscreenError
    from mftscreen.ood.reference.measure import describe, measure_novelty
    from mftscreen.screen.candidates.stream import iter_candidates
    from mftscreen.structures import shown_formula

    reference = open_chosen(ctx, source, model, property_name)
    last = ""
    for candidate in iter_candidates(database):
        if candidate.id == name:
            break
        last = candidate.id
    else:
        msg = f"no structure has the id {name!r}; the last one has {last!r}"
        raise DataError(msg, path=database)
    if isinstance(candidate.structure, MftscreenError):
        raise candidate.structure
    (found,) = measure_novelty([candidate.structure], reference)
    click.echo(f"{'id':<14}{candidate.id}")
    atoms = f"{len(candidate.structure)} atoms in the cell"
    click.echo(f"{'formula':<14}{shown_formula(candidate.structure)}, {atoms}")
    click.echo(describe(found, reference, alpha), nl=False)
    if found.status != "ok":
        ctx.exit(EXIT_FAILED_ROWS)


def _records(
    judged: Iterable[tuple[Candidate, Novelty, Verdict]],
    policy: OODPolicy,
    counts: Counter[str],
    *,
    keep: bool,
) -> Iterator[Record]:
    """Yield the rows to be written, and count all: flagged, ok or kind of failure."""
    for candidate, found, verdict in judged:
        flagged = found.status == "ok" and bool(verdict.ood)
        counts["flagged" if flagged else found.status] += 1
        if not (flagged and policy == "exclude"):
            yield _values(candidate, found, verdict), candidate.atoms if keep else None


def _values(candidate: Candidate, found: Novelty, verdict: Verdict) -> dict[str, Any]:
    from mftscreen.structures import shown_formula

    values = (
        candidate.id,
        shown_formula(candidate.atoms),
        found.p_value,
        verdict.ood if found.status == "ok" else None,
        found.distances[0] if found.distances else None,
        found.nearest[0] if found.nearest else "",
        ", ".join(found.unseen_pairs),
        found.low_dimensional,
        found.status,
        verdict.reason,
    )
    return dict(zip(COLUMNS, values, strict=True))
