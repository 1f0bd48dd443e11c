"""What a report shows, collected from a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mftscreen.errors import ModelError
from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.ood.map.embedding import Embedding, Method, embed
from mftscreen.ood.ofm.featurizer import OFMFeaturizer
from mftscreen.ood.reference.reference_set import open_reference, reference_arrays
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.report.page import MAX_STRUCTURES, ReportData
from mftscreen.screen.result.screen_result import (
    read_options,
    read_result,
)
from mftscreen.screen.work.journal import Journal

if TYPE_CHECKING:
    from ase import Atoms

    from mftscreen.model.files.archive import Arrays
    from mftscreen.properties import PropertySpec

__all__ = ["collect"]


def collect(
    run: Path,
    embedding: Method | str = "pca",
    goals: Sequence[str] = (),
    **changes: Any,
) -> ReportData:
    """Return the contents of a report on a run folder.

    Parameters
    ----------
    run : Path
    embedding : {"pca", "tsne", "none"}, default "pca"
        Of the first training set that a model has, and the first candidates.
    goals, **changes
        How to rank, see :func:`mftscreen.screen.result.screen_result.read_options`.

    Returns
    -------
    ReportData

    Raises
    ------
    ConfigError
        If the journal holds no values of a property.
    DataError
        If there is no journal in the folder, or a damaged one.
    ModelError
        If a model file is not there any more, or is another one.
    """
    with Journal(run, read_only=True) as journal:
        description = journal.description
        options = read_options(journal, goals, **changes)
        result = read_result(journal, options, structures=False)
        kept = [k for k, row in enumerate(result.rows) if row.status == "ok"]
        kept = kept[:MAX_STRUCTURES]
        numbers = [result.numbers[k] for k in kept]
        structures = dict(zip(kept, journal.structures(numbers), strict=True))
    bundles = _bundles(description)
    fast = _bundles(description["funnel"]) if "funnel" in description else []
    heads = [
        (name, bundle.card.properties[name])
        for name in options.goals
        for bundle in bundles
        if name in bundle.card.properties
    ]
    specs: dict[str, PropertySpec] = {}
    for name, head in heads:
        specs.setdefault(name, head.spec)
    places: Embedding | None = None
    embedded: list[int] = []
    sets = (reference_arrays(b.reference, g) for g in options.goals for b in bundles)
    reference = next(filter(None, sets), None)
    if embedding != "none" and reference is not None:
        places, embedded = _place(reference, structures, embedding)
    return ReportData(
        title=f"{_source_name(description)}: {', '.join(options.goals)}",
        command=description["command"],
        columns=result.columns,
        records=list(result.records()),
        properties=list(specs.values()),
        options=options,
        remarks=result.remarks,
        remark_details=result.details,
        model_cards=[b.card.model_dump(mode="json") for b in (*bundles, *fast)],
        structures=structures,
        training_targets=_targets(bundles, options),
        # what one of the training sets lacks is flagged
        training_elements=set.intersection(*(set(head.elements) for _, head in heads)),
        embedding=places,
        embedded=embedded,
    )


def _source_name(description: Mapping[str, Any]) -> str:
    """Return what candidates came from: a file, several, or structures in memory."""
    source = description["source"]
    if source is None:
        return "structures in memory"
    if isinstance(source, list):
        return f"{Path(source[0]).name} and {len(source) - 1} more"
    return Path(source).name


def _bundles(description: Mapping[str, Any]) -> list[Bundle]:
    bundles = []
    names = description["models"].split("+")
    for source, name in zip(description["model_sources"], names, strict=True):
        path, _ = resolve_model(source)
        bundle = read_bundle(path)
        if name != f"m{bundle.sha256[:12]}":
            msg = f"{path} is not the model any more that the screening was made with"
            raise ModelError(msg)
        bundles.append(bundle)
    return bundles


def _targets(bundles: Sequence[Bundle], options: RankOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in options.goals:
        for bundle in bundles:
            targets = bundle.calibration.get(f"{name}/training_targets")
            if targets is not None:
                found.setdefault(name, targets)
    return found


def _place(
    arrays: Arrays,
    structures: Mapping[int, Atoms],
    method: Method | str,
) -> tuple[Embedding | None, list[int]]:
    reference = open_reference(arrays)
    if reference.detector is None:
        return None, []
    rows = zip(structures, OFMFeaturizer()(structures.values()), strict=True)
    features = {k: row.features for k, row in rows if row.features is not None}
    chosen: Method = "tsne" if method == "tsne" else "pca"
    places = embed(
        reference.detector.reference_, list(features.values()), method=chosen
    )
    return places, list(features)
