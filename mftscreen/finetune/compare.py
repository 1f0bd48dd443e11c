"""All strategies on the same folds: trained, diagnosed and compared."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from ase import Atoms

from mftscreen.diagnostics.diagnosis import DiagnosisOptions, diagnose, load_network
from mftscreen.diagnostics.drift import measure_drift
from mftscreen.errors import ConfigError, DataError, ModelError
from mftscreen.finetune.comparison import Comparison, Result
from mftscreen.finetune.config import MFTConfig
from mftscreen.finetune.derive import DownstreamConfig, Strategy, derive_config
from mftscreen.finetune.folds import in_fold
from mftscreen.finetune.partition import ID_TEST, OOD_TEST
from mftscreen.finetune.run import run_training
from mftscreen.finetune.task import load_task
from mftscreen.finetune.validation import sample
from mftscreen.model.bundle import read_bundle
from mftscreen.writing import output_file

__all__ = ["compare_strategies"]

N_SAMPLES = 300
"""Atoms of each environment and edges of each kind. ``mftscreen diagnose`` takes the
paper's 2,000, whose t-SNE would take as long as a short training."""

_RESULT = "result.json"

log = logging.getLogger(__name__)


def compare_strategies(
    config: MFTConfig,
    directory: Path,
    *,
    split: Path,
    folds: Sequence[str],
    strategies: Sequence[Strategy] = ("scratch", "ft", "lp", "mft"),
    threads: int | None = None,
    progress: bool = False,
) -> Comparison:
    """Train strategies on the same folds and compare their errors.

    Parameters
    ----------
    config : MFTConfig
        The others' are derived from it, see
        :func:`mftscreen.finetune.derive.derive_config`.
    directory : Path
        Holds a run directory ``STRATEGY/FOLD`` for each training, and in the end
        ``compare.json`` and ``compare.csv``. Trainings that have ended there are not
        repeated, others go on from their last checkpoint.
    split : Path
    folds : sequence of str
    strategies : sequence of {"scratch", "ft", "lp", "mft"}
    threads : int, optional
        Threads of the training process; all cores by default.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Comparison

    Raises
    ------
    ConfigError
        If a run in `directory` had another configuration or other data.
    DataError, ModelError, TrainingError
        See :func:`mftscreen.finetune.run.run_training`.

    Notes
    -----
    The drift of a result is ``w1_train``, ``w1_id`` and ``w1_ood``, 1-Wasserstein
    distances of the same atoms' descriptors from the pretrained ones (Eq. 15 of
    arXiv:2601.08486; for ``scratch``, which never was there, just a distance), and
    ``db_plane`` and ``db_descriptor``, Davies-Bouldin indices of the environments of
    the OOD test's atoms over that of the pretrained model (Eqs. 13-14), on the t-SNE
    plane and in the descriptor. They are of up to 500 structures of each part and 300
    atoms of each environment.
    """
    from tqdm import tqdm

    runs = [(s, fold) for fold in folds for s in strategies]
    results: list[Result] = []
    disable = None if progress else True
    with tqdm(runs, unit="training", disable=disable, file=sys.stderr) as bar:
        for strategy, fold in bar:
            bar.set_description(f"{strategy}, fold {fold}")
            settings = in_fold(derive_config(config, strategy), split, fold)
            run = directory / strategy / quote(fold, safe=" ")
            found = _read_results(run, settings)
            if found is None:
                model = run_training(
                    settings, run, resume=True, threads=threads, progress=progress
                )
                # the parts are the same for all, and lp has no auxiliary frames to read
                parts = _structures(in_fold(derive_config(config, "lp"), split, fold))
                drift = _diagnose(model, config.pretrained, parts)
                found = _results(model, strategy, fold, drift, directory)
                _write_results(run, settings, found)
            results += found
    comparison = Comparison(tuple(results))
    (directory / "compare.json").write_text(comparison.to_json(), encoding="utf-8")
    (directory / "compare.csv").write_text(comparison.to_csv(), encoding="utf-8")
    return comparison


def _structures(config: DownstreamConfig) -> dict[str, list[Atoms]]:
    split = next(iter(load_task(config).heads.values()))
    parts = ("train", ID_TEST, OOD_TEST)
    # the atoms that drift is measured on would otherwise touch nearly all structures
    return {
        part: [s.atoms for s in sample(split[part])] for part in parts if part in split
    }


def _diagnose(
    model: Path, pretrained: str, structures: Mapping[str, Sequence[Atoms]]
) -> dict[str, float]:
    """Return how far the descriptor moved, and how well it tells OOD atoms apart."""
    before, after = load_network(pretrained), load_network(model)
    found: dict[str, float] = {}
    try:
        for part, atoms in structures.items():
            drift = measure_drift(before.network, after.network, atoms)
            found[f"w1_{part}"] = drift.w1
        options = DiagnosisOptions(n_samples=N_SAMPLES)
        ood = diagnose(before, after, {OOD_TEST: structures[OOD_TEST]}, options)
    except (DataError, ModelError) as error:  # too few atoms, say: errors are known
        log.warning("%s is not diagnosed: %s", model, error)
        return found
    write = json.dumps(ood.to_dict(), indent=1)
    model.with_name("diagnosis.json").write_text(write, encoding="utf-8")
    atoms_apart = ood.data_sets[0].atoms
    ratios = {
        "db_plane": atoms_apart.on_plane.ratio,
        "db_descriptor": atoms_apart.in_descriptor.ratio,
    }
    return found | {key: r for key, r in ratios.items() if r is not None}


def _results(
    model: Path,
    strategy: Strategy,
    fold: str,
    drift: Mapping[str, float],
    directory: Path,
) -> list[Result]:
    card = read_bundle(model).card
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


def _read_results(run: Path, config: DownstreamConfig) -> list[Result] | None:
    """Return the results of a training that has ended, if it was this one."""
    path = run / _RESULT
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["config"] != config.model_dump(mode="json"):
        problem = (
            f"{run} holds a training with another configuration; compare in another "
            "directory with --output"
        )
        raise ConfigError([problem])
    return [Result(**result) for result in document["results"]]


def _write_results(run: Path, config: DownstreamConfig, results: list[Result]) -> None:
    document = {
        "config": config.model_dump(mode="json"),
        "results": [asdict(result) for result in results],
    }
    with output_file(run / _RESULT) as partial:
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
