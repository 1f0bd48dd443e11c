"""Rank the candidates of a database: the Python side of ``mftscreen rank``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mftscreen.console.progress import progress_bar
from mftscreen.data.readers import without_password
from mftscreen.model.files.registry import (
    DEFAULT_MODEL,
    check_fine_tuned,
    find_members,
)
from mftscreen.screen.candidates.elements import ElementFilter, FilteredError
from mftscreen.screen.candidates.stream import (
    Candidate,
    count_candidates,
    iter_candidates,
)
from mftscreen.screen.funnel import (
    choose_best,
    count_kept,
    open_models,
    read_again,
)
from mftscreen.screen.order.rank_options import Duplicates, Goals, RankOptions, as_goals
from mftscreen.screen.order.ranking import OODPolicy, RankMethod
from mftscreen.screen.result.screen_result import ScreenResult, read_result
from mftscreen.screen.work.evaluation import EvaluationSettings, open_evaluator
from mftscreen.screen.work.journal import Journal
from mftscreen.screen.work.pipeline import choose_chunk_size, screen
from mftscreen.screen.work.workers import Workers

if TYPE_CHECKING:
    from mftscreen.model.network.backend import Device
    from mftscreen.screen.relax.batched import RelaxSettings

__all__ = ["rank"]

Models = str | Path | Sequence[str | Path]


def rank(
    source: str | Path,
    query: str | None = None,
    *,
    goals: Goals | str | Sequence[str],
    models: Models | None = None,
    then: Models | None = None,
    keep: str | int = "10%",
    method: RankMethod = "pareto",
    ood: OODPolicy = "label",
    alpha: float = 0.05,
    coverage: float = 0.9,
    diverse: int = 0,
    duplicates: Duplicates = "identical",
    elements: ElementFilter | None = None,
    relax: RelaxSettings | None = None,
    check_domain: bool = True,
    run: str | Path | None = None,
    n_jobs: int = 1,
    scheduler: str | None = None,
    device: Device = "auto",
    structures: bool = True,
    progress: bool = False,
    command: str | None = None,
) -> ScreenResult:
    """Rank the candidates of a database by predicted properties.

    Parameters
    ----------
    source : str or Path
        As :func:`mftscreen.screen.candidates.stream.iter_candidates` takes it.
    query : str, optional
        ASE's query string, for an ase.db.
    goals : mapping of str to Goal, or str or sequence of str
        Property to what makes it good, or as
        :func:`mftscreen.screen.order.goals.parse_goals` reads it: ``"dielectric:max"``.
    models : str, Path or sequence of those, optional
        Names or files. Several models of one property are an ensemble: their mean
        counts, and their spread is given. By default ``mft-mini``, of which the models
        that predict one of the goals are taken, that of crystals first.
    then : str, Path or sequence of those, optional
        Slower models, which see the best of what `models` have seen and then decide
        about the order. Candidates without a rank by `models` are not among the best.
    keep : str or int, default "10%"
        How many of those that have a rank `then` sees: a share, or a number.
    method : {"pareto", "desirability"}, default "pareto"
    ood : {"label", "demote", "exclude"}, default "label"
    alpha : float, default 0.05
    coverage : float, default 0.9
    diverse : int, default 0
    duplicates : {"identical", "equivalent"}, default "identical"
        As in :class:`RankOptions`.
    elements : ElementFilter, optional
        Candidates that it refuses are not evaluated; they become rows with the status
        ``filtered``.
    relax : RelaxSettings, optional
        Relax each candidate with the first model before the prediction, once for both
        stages.
    check_domain : bool, default True
        Whether candidates that a model was not made for get no value, but a reason; see
        :class:`mftscreen.domain.HeadDomain`. Otherwise they are flagged.
    run : str or Path, optional
        Folder, on a local file system, that keeps what is done: a screening that was
        interrupted goes on there, and one with other goals needs no evaluation.
    n_jobs : int, default 1
        Number of processes; -1 for as many as there are cores.
    scheduler : str, optional
        Address of a Dask scheduler to use instead of processes.
    device : {"auto", "cpu", "cuda"}
    structures : bool, default True
        Whether rows hold their structures, which need more memory than all the rest.
    progress : bool, default False
        Show a progress bar on stderr.
    command : str, optional
        What was typed to get here, for the report.

    Returns
    -------
    ScreenResult

    Raises
    ------
    ConfigError
        If a goal is not understood, or `keep` is neither a share nor a number.
    DataError
        If the source cannot be read or the run folder cannot be used.
    UnknownPropertyError, ModelError
        If there is no such property or model.
    WorkerError
        If processes or a cluster are lost or of no use; a run folder keeps what was
        done.

    Examples
    --------
    >>> from mftscreen import rank
    >>> result = rank("candidates.db", goals="dielectric:max")  # doctest: +SKIP
    >>> [row.formula for row in result.top(3)]  # doctest: +SKIP
    ['Te', 'SnTe', 'GeTe']
    """
    options = RankOptions(
        as_goals(goals), method, ood, alpha, coverage, diverse, duplicates
    )
    common = {"device": device, "check_domain": check_domain}
    stages = _stages(options.goals, models, then, keep, relax, common)
    opened, facts = open_models(stages, keep)
    with Journal(None if run is None else Path(run)) as journal:
        about = {"command": command, "source": _lasting_source(source), "query": query}
        journal.begin({**about, "options": options.to_json(), **facts})
        work = partial(_work, journal, n_jobs, scheduler, progress)
        candidates = _filter(iter_candidates(source, query), elements)
        work(opened[0], candidates, count_candidates(source, query))
        for settings in opened[1:]:
            journal.begin_again()
            best = choose_best(journal, options, keep)
            work(settings, read_again(journal, best), len(best))
        journal.finish()
        return read_result(journal, options, structures=structures)


def _stages(
    goals: Goals,
    models: Models | None,
    then: Models | None,
    keep: str | int,
    relax: RelaxSettings | None,
    common: Mapping[str, Any],
) -> list[EvaluationSettings]:
    """Return what to evaluate with: fast models, then slow ones if there are any."""
    names = tuple(goals)
    fast = _find_models(models, goals)
    stages = [EvaluationSettings(fast, names, relax=relax, **common)]
    if then:
        count_kept(keep, 0)  # a wrong one is refused before all the work
        # on structures that are relaxed already
        stages.append(EvaluationSettings(_find_models(then, goals), names, **common))
    return stages


def _work(
    journal: Journal,
    n_jobs: int,
    scheduler: str | None,
    progress: bool,
    settings: EvaluationSettings,
    candidates: Iterable[Candidate],
    total: int | None,
) -> None:
    """Evaluate candidates into a journal, and show how far that is."""
    evaluator = open_evaluator(settings)
    with (
        Workers(settings, n_jobs, scheduler) as workers,
        progress_bar(shown=progress, total=total, unit="structure") as bar,
    ):
        reused = 0
        size = choose_chunk_size(settings.relax, workers.n_workers, total)
        for n_done, n_reused in screen(
            candidates, evaluator.key, workers, journal, chunk_size=size
        ):
            reused += n_reused
            if reused:
                bar.set_postfix_str(f"{reused} known", refresh=False)
            bar.update(n_done)


def _find_models(models: Models | None, goals: Goals) -> tuple[str, ...]:
    """Return names or paths of single models, those of a collection that are needed."""
    if isinstance(models, str | Path):
        models = [models]
    models = models or [DEFAULT_MODEL]
    for model in models:
        check_fine_tuned(model)  # before it is downloaded
    return tuple(
        str(member) for model in models for member in find_members(model, goals)
    )


def _lasting_source(source: str | Path) -> str:
    """Return a source as it may be kept: without password and current folder."""
    text = str(source)
    if "://" in text:
        return without_password(text)
    return str(Path(text).absolute())


def _filter(
    candidates: Iterator[Candidate], elements: ElementFilter | None
) -> Iterator[Candidate]:
    """Yield candidates, of which those that the filter refuses become errors."""
    from ase import Atoms
    from ase.data import chemical_symbols

    from mftscreen.structures import reduced_formula

    for candidate in candidates:
        if elements is not None and isinstance(candidate.structure, Atoms):
            numbers = set(candidate.structure.numbers.tolist())
            # a number that is no element's is refused later
            known = [chemical_symbols[z] for z in numbers if z < len(chemical_symbols)]
            reason = elements.reason(known)
            if reason is not None:
                refused = FilteredError(reason, reduced_formula(candidate.structure))
                yield replace(candidate, structure=refused)
                continue
        yield candidate
