"""All strategies on the same folds: trained, diagnosed and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from mftscreen.console.progress import progress_bar
from mftscreen.errors import ConfigError
from mftscreen.finetune.compare.folds import in_fold
from mftscreen.finetune.compare.verdict import Comparison, Result
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import is_same
from mftscreen.finetune.outcome.collapse import (
    collapse_parts,
    read_collapse,
    report_collapse,
)
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.strategies import COMPARABLE, DownstreamConfig, MFTConfig
from mftscreen.finetune.task.task import load_rows
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import MODEL, resolve_model
from mftscreen.writing import output_file

__all__ = ["compare_strategies"]

_RESULT = "result.json"


def compare_strategies(
    config: MFTConfig,
    directory: Path,
    *,
    split: Path,
    folds: Sequence[str],
    strategies: Sequence[str] = tuple(COMPARABLE),
    threads: int | None = None,
    progress: bool = False,
    collapse_report: bool = True,
) -> Comparison:
    """Train strategies on the same folds and compare their errors.

    Parameters
    ----------
    config : MFTConfig
        The others' are derived from it, see
        :func:`mftscreen.finetune.config.derive.derive_config`.
    directory : Path
        Holds a run directory ``STRATEGY/FOLD`` for each training, and in the end
        ``compare.json`` and ``compare.csv``. Trainings that have ended there are not
        repeated, others go on from their last checkpoint.
    split : Path
    folds : sequence of str
    strategies : sequence of str
        Of :data:`mftscreen.finetune.strategies.COMPARABLE`; all by default.
    threads : int, optional
        Threads of the training process; all cores by default.
    progress : bool
        Whether to show progress on stderr.
    collapse_report : bool
        Whether each model is compared with the pretrained one; see
        :func:`mftscreen.finetune.outcome.collapse.report_collapse`. Reports that are
        missing are made up for.

    Returns
    -------
    Comparison

    Raises
    ------
    ConfigError
        If a run in `directory` had another configuration or other data.
    DataError, ModelError, TrainingError
        See :func:`mftscreen.finetune.run.run.run_training`.

    Notes
    -----
    The drift of a result is what its collapse report says: ``w1_train``, ``w1_id`` and
    ``w1_ood``, 1-Wasserstein distances of the same atoms' descriptors from the
    pretrained ones (Eq. 15 of arXiv:2601.08486; for ``scratch``, which never was there,
    just a distance; none for ``kernel``, which leaves the descriptor as it was), and
    ``db_plane`` and ``db_descriptor``, Davies-Bouldin indices of the environments of
    the OOD test's atoms over those of the pretrained model (Eqs. 13-14), on the t-SNE
    plane and in the descriptor.
    """
    runs = [(s, fold) for fold in folds for s in strategies]
    results: list[Result] = []
    origin = resolve_model(config.pretrained, progress=progress)[0]
    pretrained = hashlib.sha256(origin.read_bytes()).hexdigest()
    hashes: dict[tuple[str, bool], dict[str, str]] = {}
    with progress_bar(runs, shown=progress, unit="training") as bar:
        for strategy, fold in bar:
            bar.set_description(f"{strategy}, fold {fold}")
            derived = derive_config(config, strategy, progress=progress)
            settings = in_fold(derived, split, fold)
            reports = collapse_report and settings.plan.trains
            run = directory / strategy / quote(fold, safe=" ")
            model = run / MODEL
            # once for all strategies that validate, and once for those that do not
            key = fold, settings.plan.trains
            if key not in hashes:
                rows = load_rows(settings.plan)
                hashes[key] = {"rows": rows.hash, "tests": rows.tests_hash}
                del rows  # while others train
            made_of = {"pretrained": pretrained, **hashes[key]}
            found = _read_results(run, settings, made_of)
            if found is None:
                run_training(
                    settings,
                    run,
                    resume=True,
                    threads=threads,
                    progress=progress,
                    collapse_against=config.pretrained if reports else None,
                )
            elif reports and not all(result.drift for result in found):
                parts = collapse_parts(load_rows(settings.plan))
                report_collapse(model, config.pretrained, parts, progress=progress)
            else:
                results += found
                continue
            found = _results(model, strategy, fold, directory)
            _write_results(run, settings, made_of, found)
            results += found
    comparison = Comparison(tuple(results))
    for name, text in (
        ("compare.json", comparison.to_json()),
        ("compare.csv", comparison.to_csv()),
    ):
        with output_file(directory / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return comparison


def _results(model: Path, strategy: str, fold: str, directory: Path) -> list[Result]:
    card, collapse = read_bundle(model).card, read_collapse(model)
    drift = {} if collapse is None else collapse.numbers
    return [
        Result(
            strategy,
            fold,
            name,
            head.metrics,
            drift,
            model.relative_to(directory).as_posix(),
        )
        for name, head in card.properties.items()
    ]


def _read_results(
    run: Path, config: DownstreamConfig, made_of: Mapping[str, str]
) -> list[Result] | None:
    """Return the results of a training that has ended, if it was this one."""
    path = run / _RESULT
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    if not is_same(config, document["config"]):
        what = "with another configuration"
    elif "made_of" not in document:
        return None  # of an earlier version: the run itself knows
    elif document["made_of"] != made_of:
        what = "of other rows, or from another pretrained model of this name"
    else:
        return [Result(**result) for result in document["results"]]
    problem = f"{run} holds a training {what}; compare in another directory with "
    raise ConfigError([problem + "--output"])


def _write_results(
    run: Path,
    config: DownstreamConfig,
    made_of: Mapping[str, str],
    results: list[Result],
) -> None:
    document = {
        "config": config.model_dump(mode="json"),
        "made_of": made_of,
        "results": [asdict(result) for result in results],
    }
    with output_file(run / _RESULT) as partial:
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
