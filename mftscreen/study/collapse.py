"""What fine-tuning did to representations, strategy by strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mftscreen.console.progress import showing_stages
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.diagnostics.diagnosis import DiagnosisOptions, diagnose
from mftscreen.diagnostics.pages import write_diagnosis, write_numbers
from mftscreen.errors import DataError
from mftscreen.finetune.task.partition import ID_TEST, OOD_TEST
from mftscreen.jobs.trained import (
    ComparedModel,
    common_parts,
    common_pretrained,
    name_models,
)
from mftscreen.study.plan import Conditions
from mftscreen.study.run import Study
from mftscreen.writing import check_place

__all__ = ["write_collapse"]

N_SAMPLES, N_REPEATS = 500, 3


def write_collapse(
    study: Study, folder: Path, command: str, *, progress: bool = False
) -> Iterator[Path]:
    """Write panels of the pretrained model and those fine-tuned from it.

    Parameters
    ----------
    study : Study
        Of each task, split, backbone, variant and training size, the first fold and
        seed that has most of the strategies that change a pretrained descriptor.
    folder : Path
        Made if need be. An existing report of the same name is replaced.
    command : str
        What a report gives as its command.
    progress : bool
        Whether to show progress on stderr.

    Yields
    ------
    Path
        Of each report, ``collapse-….html``, once it is complete. The numbers are beside
        it, in ``.json``.

    Raises
    ------
    DataError
        If no finished job has such a strategy, or a file cannot be written.
    ConfigError, ModelError
        If the models or data of the jobs are not there any more.

    Notes
    -----
    Clusters and their Davies-Bouldin indices (Fig. 2d to i of arXiv:2601.08486,
    Eqs. 13-14) are those of the OOD test or, where there is none, of the last part.
    """
    compared = _compared(study)
    if not compared:
        msg = "no job that has finished fine-tunes a pretrained descriptor"
        raise DataError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    slugs = Counter[str]()
    for conditions, models in compared.items():
        slugs[conditions.slug] += 1
        # a slug may be cut, and does not tell variants from backbones
        again = slugs[conditions.slug]
        suffix = f"-{again}" if again > 1 else ""
        path = folder / f"collapse-{conditions.slug}{suffix}.html"
        _write(path, models, conditions.in_distribution, command, progress)
        yield path


def _compared(study: Study) -> dict[Conditions, dict[str, ComparedModel]]:
    """Return what to compare by strategy, and what the strategies have in common."""
    groups: dict[Conditions, dict[Conditions, dict[str, ComparedModel]]] = {}
    for conditions, job in study.folders.items():
        (model,) = name_models({conditions.strategy: job})
        assert model.config is not None
        plan = model.config.plan
        if plan.transfers and plan.trains and not plan.freezes_descriptor:
            same = replace(conditions, strategy="")
            kind = replace(same, fold="", seed=0, train_seed=0)
            group = groups.setdefault(kind, {}).setdefault(same, {})
            group[conditions.strategy] = model
    # the first of those that have as many
    best = [
        max(group.items(), key=lambda each: len(each[1])) for group in groups.values()
    ]
    return dict(best)


def _write(
    path: Path,
    models: Mapping[str, ComparedModel],
    in_distribution: bool,
    command: str,
    progress: bool,
) -> None:
    check_place(path)
    named = list(models.values())
    before = load_network(common_pretrained(named))
    after = {strategy: load_network(model.model) for strategy, model in models.items()}
    parts = common_parts(named)
    if in_distribution and OOD_TEST in parts:  # the test of a fold of random rows
        parts[ID_TEST] = parts.pop(OOD_TEST)
    clustered = (OOD_TEST,) if OOD_TEST in parts else tuple(parts)[-1:]
    options = DiagnosisOptions(
        n_samples=N_SAMPLES, n_repeats=N_REPEATS, clustered=clustered
    )
    n_stages = options.count_stages(parts, len(after))
    with showing_stages(n_stages, shown=progress) as begin:
        diagnosis = diagnose(before, after, parts, options, begin)
    write_numbers(diagnosis, path.with_suffix(".json"), command)
    write_diagnosis(diagnosis, path, command)
