"""``mftscreen ood map``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.checks import given
from mftscreen.cli.shared.commands import Choice, Command
from mftscreen.cli.shared.options import (
    SEED,
    Finite,
    LocalPath,
    alpha_option,
    jobs_option,
    quiet_option,
)
from mftscreen.cli.shared.reference_sets import (
    TABLE_HELP,
    TABLES,
    fit_with_progress,
    measure_with_progress,
)
from mftscreen.cli.shared.summary import counted, say_written

if TYPE_CHECKING:
    from mftscreen.ood.map.embedding import Method
    from mftscreen.ood.ofm.orbitals import Table
    from mftscreen.ood.reference.reference_set import Reference

__all__ = ["map_command"]


@click.command("map", cls=Command)
@click.argument("data", type=LocalPath())
@click.option(
    "--candidates",
    type=LocalPath(),
    help="Structures to show on the map.",
)
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    required=True,
    help="FILE.html, to explore with the mouse, or FILE.png.",
)
@click.option(
    "--method",
    type=Choice(["tsne", "pca"]),
    default="tsne",
    show_default=True,
    help="t-SNE shows neighbourhoods; PCA, which is quick, the largest differences.",
)
@click.option(
    "--perplexity",
    type=Finite(min=1, min_open=True),
    default=30.0,
    show_default=True,
    help="Of t-SNE.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of t-SNE.")
@alpha_option
@click.option(
    "--table", type=TABLES, help=f"{TABLE_HELP}  [default: that of DATA, else current]"
)
@jobs_option
@quiet_option
@click.pass_context
def map_command(
    ctx: click.Context,
    data: Path,
    candidates: Path | None,
    output: Path,
    method: Method,
    perplexity: float,
    seed: int,
    alpha: float,
    table: Table | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Draw a map of a reference set, and of candidates in it.

    DATA is a reference set (.npz) or structures to make one of. Candidates are coloured
    by p-value on grey reference structures; without candidates the reference structures
    are coloured by their p-value among the others. Flagged ones have a black outline.

    Do not read distances off the map: p-values come from the full matrices.

    \b
    Example:
      mftscreen ood map reference.npz --candidates candidates.db -o map.html
      mftscreen ood map matbench_dielectric.json.gz --method pca -o map.png
    """
    from scipy.sparse import csr_array, vstack

    from mftscreen.ood.map.drawing import check_map_output, write_map
    from mftscreen.ood.map.embedding import MapPoint, embed, reference_points
    from mftscreen.ood.reference.novelty import flag
    from mftscreen.structures import shown_formula

    if method == "pca" and (unused := given(ctx, "perplexity", "seed")):
        msg = f"{', '.join(unused)}: of t-SNE, not of --method pca"
        raise click.UsageError(msg, ctx)
    check_map_output(output)
    reference, n_failed = _open_or_fit(data, table, jobs, quiet)
    detector = reference.detector
    assert detector is not None
    known, new, vectors = reference_points(reference, alpha), [], []
    if candidates is not None:
        for each, found in measure_with_progress(candidates, reference, jobs, quiet):
            verdict = flag(found, alpha)
            if found.features is None or found.p_value is None:
                click.echo(f"{each.id}: {verdict.reason}", err=True)
                n_failed += 1
                continue
            vectors.append(csr_array(found.features[None]))
            formula = shown_formula(each.atoms)
            new.append(MapPoint(each.id, formula, found.p_value, bool(verdict.ood)))
    if method == "tsne" and not quiet:
        click.echo(f"t-SNE of {len(known) + len(new)} structures ...", err=True)
    embedding = embed(
        detector.reference_,
        vstack(vectors, format="csr") if vectors else (),
        method=method,
        perplexity=perplexity,
        seed=seed,
    )
    sets = f"reference: {data.name} ({len(known)})"
    if candidates is not None:
        sets += f", candidates: {candidates.name} ({len(new)})"
    title = (
        f"{sets}\n{embedding.description}\n"
        f"orbital field matrices, element table '{detector.table}', alpha {alpha:g}"
    )
    write_map(output, title, embedding, known, new)
    what = f"a map of {counted(len(known) + len(new), 'point')}"
    say_written(what, output, quiet=quiet)
    if n_failed:
        click.echo(f"{counted(n_failed, 'structure')} failed", err=True)
        ctx.exit(EXIT_FAILED_ROWS)


def _open_or_fit(
    data: Path, table: Table | None, jobs: int, quiet: bool
) -> tuple[Reference, int]:
    from mftscreen.errors import DataError
    from mftscreen.ood.reference.density import OFMDensityDetector
    from mftscreen.ood.reference.reference_set import read_reference

    if data.suffix != ".npz":
        detector = OFMDensityDetector(table=table or "current")
        return fit_with_progress(data, detector, jobs, quiet)
    reference = read_reference(data)
    assert reference.detector is not None
    made_with = reference.detector.table
    if table not in (None, made_with):
        msg = f"was made with --table {made_with}; it cannot be shown with {table}"
        raise DataError(msg, path=data)
    return reference, 0
