"""What a report shows, collected from a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mftscreen.errors import ModelError
from mftscreen.model.bundle import Bundle, read_bundle
from mftscreen.model.registry import DEFAULT_MODEL, resolve_model
from mftscreen.ood.map import Embedding, Method, embed
from mftscreen.ood.ofm import OFMFeaturizer
from mftscreen.ood.reference import open_reference
from mftscreen.screen.goals import Goal
from mftscreen.screen.journal import Journal
from mftscreen.screen.report import MAX_STRUCTURES, ReportData
from mftscreen.screen.result import RankOptions, ScreenResult, read_result

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["collect"]


def collect(
    run: Path, options: RankOptions, embedding: Method | str = "pca"
) -> ReportData:
    """Return the contents of a report on a run folder.

    Parameters
    ----------
    run : Path
    options : RankOptions
        Without goals, all properties are to be large.
    embedding : {"pca", "tsne", "none"}, default "pca"
        Of the training set and the first candidates.

    Returns
    -------
    ReportData

    Raises
    ------
    DataError
        If there is no journal in the folder.
    ModelError
        If the model file is not there any more, or is another one.
    """
    with Journal(run, read_only=True) as journal:
        description = journal.description
        if not options.goals:
            goals = {name: Goal() for name in description.get("units", {})}
            options = replace(options, goals=goals)
        result = read_result(journal, options, structures=False)
        kept = [k for k, row in enumerate(result.rows) if row.status == "ok"]
        kept = kept[:MAX_STRUCTURES]
        numbers = [result.numbers[k] for k in kept]
        structures = dict(zip(kept, journal.structures(numbers), strict=True))
    bundle = _bundle(description)
    properties = [bundle.card.properties[name].spec for name in options.goals]
    elements = {e for p in bundle.card.properties.values() for e in p.elements}
    places: Embedding | None = None
    embedded: list[int] = []
    if embedding != "none" and bundle.reference:
        places, embedded = _place(bundle, structures, options, embedding)
    return ReportData(
        title=f"{Path(description['source']).name}: {', '.join(options.goals)}",
        command=description["command"],
        columns=result.columns,
        records=list(result.records()),
        properties=properties,
        model_card=bundle.card.model_dump(mode="json"),
        structures=structures,
        training_targets=_targets(bundle, result),
        training_elements=elements,
        embedding=places,
        embedded=embedded,
    )


def _bundle(description: Mapping[str, Any]) -> Bundle:
    source = description["model_sources"][0] or DEFAULT_MODEL
    path, _ = resolve_model(source)
    bundle = read_bundle(path)
    if not description["models"].startswith(f"m{bundle.sha256[:12]}"):
        msg = f"{path} is not the model any more that the screening was made with"
        raise ModelError(msg)
    return bundle


def _targets(bundle: Bundle, result: ScreenResult) -> dict[str, Any]:
    stored = {n: f"{n}/training_targets" for n in result.options.goals}
    return {
        name: bundle.calibration[key]
        for name, key in stored.items()
        if key in bundle.calibration
    }


def _place(
    bundle: Bundle,
    structures: Mapping[int, Atoms],
    options: RankOptions,
    method: Method | str,
) -> tuple[Embedding | None, list[int]]:
    reference = open_reference(bundle.reference, options.alpha)
    if reference.detector is None:
        return None, []
    rows = zip(structures, OFMFeaturizer()(structures.values()), strict=True)
    features = {k: row.features for k, row in rows if row.features is not None}
    chosen: Method = "tsne" if method == "tsne" else "pca"
    places = embed(
        reference.detector.reference_, list(features.values()), method=chosen
    )
    return places, list(features)
