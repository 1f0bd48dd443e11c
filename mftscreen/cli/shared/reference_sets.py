"""What the ``mftscreen ood`` commands share: reference sets and progress."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mftscreen.cli.shared.commands import Choice
from mftscreen.cli.shared.completion import complete_properties
from mftscreen.cli.shared.options import LocalPath, only_property
from mftscreen.console.progress import progress_bar

if TYPE_CHECKING:
    from mftscreen.ood.reference.density import OFMDensityDetector
    from mftscreen.ood.reference.novelty import Novelty
    from mftscreen.ood.reference.reference_set import Reference
    from mftscreen.screen.candidates.stream import Candidate

__all__ = [
    "TABLE_HELP",
    "TABLES",
    "fit_with_progress",
    "measure_with_progress",
    "open_chosen",
    "property_option",
    "warn_if_too_small",
    "reference_option",
]

T = TypeVar("T")

reference_option = click.option(
    "-r",
    "--reference",
    "source",
    type=LocalPath(),
    help="What 'mftscreen ood fit' wrote.  [default: the training set of --model]",
)
property_option = click.option(
    "-p",
    "--property",
    "property_name",
    shell_complete=complete_properties,
    help="Compare with what the model was trained on for this property.  [default: its "
    "only one]",
)
TABLE_HELP = (
    "Which electrons count as valence: as in today's matminer (current) or in that of "
    "the published out-of-distribution splits (paper)."
)
TABLES = Choice(["current", "paper"])


def fit_with_progress(
    data: Path, detector: OFMDensityDetector, jobs: int, quiet: bool
) -> tuple[Reference, int]:
    """Return a reference set and how many structures are not in it; list those."""
    from mftscreen.errors import DataError
    from mftscreen.ood.reference.reference_set import fit_reference
    from mftscreen.screen.candidates.stream import iter_candidates

    candidates = progress_bar(iter_candidates(data), shown=not quiet, unit="structure")
    reference, failures = fit_reference(
        ((candidate.id, candidate.structure) for candidate in candidates),
        detector,
        n_jobs=jobs,
    )
    for name, error in failures:
        click.echo(f"{name}: {error}", err=True)
    if reference.detector is None:
        msg = (
            f"a reference set needs at least {detector.min_reference} distinct "
            f"structures with an orbital field matrix; found {len(reference.ids)}, "
            f"{reference.n_twins} equal to one of them, and {len(failures)} without"
        )
        raise DataError(msg, path=data)
    return reference, len(failures)


def warn_if_too_small(reference: Reference, alpha: float) -> None:
    """Say on standard error that no p-value can reach alpha, if that is so."""
    from mftscreen.trust.conformal import is_significant

    n = len(reference.ids)
    if reference.detector is None or is_significant(1.0 / (n + 1), alpha):
        return
    click.echo(
        f"warning: {n} reference structures are too few for a p-value of "
        f"{alpha:g} (the smallest is 1/{n + 1}): no p-value flags anything",
        err=True,
    )


def open_chosen(
    ctx: click.Context,
    source: Path | None,
    model: str | None,
    name: str | None,
) -> Reference:
    """Return a reference set, from its own file or that of a model's property."""
    from mftscreen.errors import ModelFileError, UnknownPropertyError
    from mftscreen.model.files.bundle import read_bundle
    from mftscreen.model.files.registry import (
        DEFAULT_MODEL,
        check_fine_tuned,
        resolve_model,
    )
    from mftscreen.ood.reference.reference_set import (
        open_reference,
        read_reference,
        reference_arrays,
    )
    from mftscreen.properties import suggestion

    if source is not None and (model is not None or name is not None):
        msg = "choose one of --reference and --model, with --property"
        raise click.UsageError(msg, ctx)
    if source is not None:
        return read_reference(source)
    model = model or DEFAULT_MODEL
    check_fine_tuned(model)
    name = name or only_property((model,))
    path, _ = resolve_model(model, properties=[name])
    bundle = read_bundle(path)
    known = bundle.card.properties
    if name not in known:
        msg = f"model {model} does not predict {name}, only: {', '.join(known)}"
        msg += suggestion(name, {n: head.spec for n, head in known.items()})
        raise UnknownPropertyError(msg)
    arrays = reference_arrays(bundle.reference, name)
    reference = open_reference(arrays, known[name].elements)
    if reference.detector is None:
        msg = (
            f"{path} has no OFM reference set of {name}; make one with "
            "'mftscreen ood fit'"
        )
        raise ModelFileError(msg)
    return reference


def measure_with_progress(
    database: Path, reference: Reference, jobs: int, quiet: bool
) -> Iterator[tuple[Candidate, Novelty]]:
    """Yield the structures of a database with what is new about each."""
    from mftscreen.ood.reference.measure import measure_novelty
    from mftscreen.screen.candidates.stream import iter_candidates

    candidates, again = tee(iter_candidates(database))
    structures = (candidate.structure for candidate in again)
    found = measure_novelty(structures, reference, n_jobs=jobs)
    pairs = zip(candidates, found, strict=True)
    yield from progress_bar(pairs, shown=not quiet, unit="structure")
