"""Rank the candidates of a database: the Python side of ``mftscreen rank``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mftscreen.console.progress import progress_bar
from mftscreen.data.readers import without_password
from mftscreen.errors import DataError
from mftscreen.model.files.registry import (
    DEFAULT_MODEL,
    check_fine_tuned,
    find_members,
    properties_of,
)
from mftscreen.screen.arguments import (
    as_element_filter,
    check_workplace,
    model_files,
)
from mftscreen.screen.candidates.carried import split_names
from mftscreen.screen.candidates.elements import ElementFilter, FilteredError
from mftscreen.screen.candidates.in_memory import Source, is_in_memory
from mftscreen.screen.candidates.stream import (
    Candidate,
    count_candidates,
    explain_empty,
    iter_candidates,
)
from mftscreen.screen.funnel import (
    choose_best,
    count_kept,
    open_models,
    read_again,
)
from mftscreen.screen.order.goals import own_goals
from mftscreen.screen.order.rank_options import Duplicates, Goals, RankOptions, as_goals
from mftscreen.screen.order.ranking import OODPolicy, RankMethod
from mftscreen.screen.relax.settings import RelaxSettings, as_relax_settings
from mftscreen.screen.result.screen_result import ScreenResult, read_result
from mftscreen.screen.work.evaluation import EvaluationSettings, open_evaluator
from mftscreen.screen.work.journal import DATABASE, Journal
from mftscreen.screen.work.pipeline import choose_chunk_size, screen
from mftscreen.screen.work.workers import Workers

if TYPE_CHECKING:
    from mftscreen.model.network.backend import Device

__all__ = ["held_before", "rank"]


def rank(
    source: Source,
    query: str | None = None,
    *,
    goals: RankOptions | Mapping[str, Any] | str | Sequence[str],
    models: Any = None,
    then: Any = None,
    keep: str | int = "10%",
    method: RankMethod = "pareto",
    ood: OODPolicy = "label",
    alpha: float = 0.05,
    coverage: float = 0.9,
    diverse: int = 0,
    duplicates: Duplicates = "identical",
    elements: ElementFilter | Mapping[str, Any] | None = None,
    relax: RelaxSettings | Mapping[str, Any] | str | bool | None = None,
    check_domain: bool = True,
    run: str | Path | None = None,
    n_jobs: int = 1,
    scheduler: str | None = None,
    device: Device = "auto",
    id_key: str | None = None,
    column: str | None = None,
    carry: bool | str | Sequence[str] = True,
    structures: bool = True,
    progress: bool = False,
    command: str | None = None,
) -> ScreenResult:
    """Rank candidates by predicted properties.

    Parameters
    ----------
    source : str, Path or object
        A database, file, folder, pattern or URL, as
        :func:`mftscreen.screen.candidates.stream.iter_candidates` takes it. Or
        structures in memory: one or several :class:`ase.Atoms` or pymatgen structures,
        pairs (id, structure), a DataFrame with a column of structures, or that column.
    query : str, optional
        ASE's query string, for an ase.db.
    goals : str, sequence of str, mapping or RankOptions
        Properties, as on the command line: ``"dielectric"``, ``["gap=1.2..1.6",
        "mass<=90"]``; or property to what makes it good: ``{"dielectric": "max"}``, see
        :func:`mftscreen.screen.order.rank_options.as_goals`. A
        :class:`~mftscreen.screen.order.rank_options.RankOptions` has all that decides
        about the order; `method`, `ood`, `alpha`, `coverage`, `diverse` and
        `duplicates` do not count then.
    models : str, Path, object or sequence of those, optional
        Names or files, fitted :class:`mftscreen.MFTRegressor`, results of
        :func:`mftscreen.finetune`. Several models of one property are an ensemble:
        their mean counts, and their spread is given. By default ``mft-mini``, of which
        the models that predict one of the goals are taken, that of crystals first.
    then : str, Path, object or sequence of those, optional
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
    elements : ElementFilter or mapping, optional
        Candidates that it refuses are not evaluated; they become rows with the status
        ``filtered``: ``{"max_elements": 3, "exclude": ["Pb"]}``.
    relax : str, bool, mapping or RelaxSettings, optional
        Relax each candidate with the first model before the prediction, once for both
        stages: ``"fire"``, ``{"fmax": 0.02, "steps": 200}``.
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
    id_key : str, optional
        Key or column of the source that names candidates.
    column : str, optional
        Column of a DataFrame that has the structures; by default it is found.
    carry : bool, str or sequence of str, default True
        What else the source says of candidates (key-value pairs of an ase.db, ``info``
        of frames, columns of tables; texts, numbers and truth values) comes back in
        columns of its own: all, none, or these. What no candidate has is told of in
        the result's ``remarks``.
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
        If a goal or another argument is not understood, or `keep` is neither a share
        nor a number.
    DataError
        If the source cannot be read, holds nothing though there is no `query`, or the
        run folder cannot be used.
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
    if isinstance(goals, RankOptions):
        options = replace(goals, goals=as_goals(goals.goals))
    else:
        options = RankOptions(
            as_goals(goals), method, ood, alpha, coverage, diverse, duplicates
        )
    check_workplace(run, n_jobs, scheduler, device)
    if not isinstance(carry, bool):
        carry = split_names(carry)
    refused, settings = as_element_filter(elements), as_relax_settings(relax)
    folder = None if run is None else Path(run)
    common = {"device": device, "check_domain": bool(check_domain)}
    with model_files(folder, models, then) as (fast, slow):
        known = properties_of([*(fast or [DEFAULT_MODEL]), *slow])
        options = replace(options, goals=own_goals(options.goals, known))
        stages = _stages(options.goals, fast, slow, keep, settings, common)
        opened, facts = open_models(stages, keep)
        with Journal(folder) as journal:
            about = {"command": command, "source": _lasting(source), "query": query}
            journal.begin({**about, "options": options.to_json(), **facts})
            work = partial(_work, journal, int(n_jobs), scheduler, progress)
            found = iter_candidates(source, query, id_key=id_key, column=column)
            if query is None and isinstance(source, str | Path):
                found = _some(found, source)
            work(opened[0], _filter(found, refused), count_candidates(source, query))
            for stage in opened[1:]:
                journal.begin_again()
                best = choose_best(journal, options, keep)
                work(stage, read_again(journal, best), len(best))
            journal.finish()
            return read_result(
                journal, options, structures=structures, carry=carry, strict=False
            )


def held_before(run: Path, source: Source) -> str:
    """Return what a run folder has the candidates of, if that is another source.

    Parameters
    ----------
    run : Path
        Need not exist.
    source
        As for :func:`rank`.

    Returns
    -------
    str
        Files, folders, patterns and URLs; empty if there is nothing to be replaced.
    """
    if not (run / DATABASE).exists():
        return ""
    with suppress(DataError), Journal(run, read_only=True) as journal:
        if journal.description.get("source") != _lasting(source):
            return ", ".join(journal.sources)
    return ""  # which is also for what cannot be read: the screening says why


def _stages(
    goals: Goals,
    models: Sequence[str | Path],
    then: Sequence[str | Path],
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


def _find_models(models: Sequence[str | Path], goals: Goals) -> tuple[str, ...]:
    """Return names or paths of single models, those of a collection that are needed."""
    models = models or [DEFAULT_MODEL]
    for model in models:
        check_fine_tuned(model)  # before it is downloaded
    return tuple(
        str(member) for model in models for member in find_members(model, goals)
    )


def _lasting(source: Source) -> str | list[str] | None:
    """Return a source as it may be kept: without password and current folder."""
    if is_in_memory(source):
        return None
    if not isinstance(source, str | Path):
        return [_lasting_path(each) for each in source]
    return _lasting_path(source)


def _lasting_path(source: str | Path) -> str:
    text = str(source)
    if "://" in text:
        return without_password(text)
    return str(Path(text).absolute())


def _some(candidates: Iterator[Candidate], source: str | Path) -> Iterator[Candidate]:
    """Yield candidates; raise if there is none, which no query explains."""
    empty = True
    for candidate in candidates:
        empty = False
        yield candidate
    if empty:
        raise DataError(explain_empty(source))


def _filter(
    candidates: Iterator[Candidate], elements: ElementFilter | None
) -> Iterator[Candidate]:
    """Yield candidates, of which those that the filter refuses become errors."""
    from ase import Atoms
    from ase.data import chemical_symbols

    from mftscreen.structures import shown_formula

    for candidate in candidates:
        if elements is not None and isinstance(candidate.structure, Atoms):
            numbers = set(candidate.structure.numbers.tolist())
            # a number that is no element's is refused later
            known = [chemical_symbols[z] for z in numbers if z < len(chemical_symbols)]
            reason = elements.reason(known)
            if reason is not None:
                refused = FilteredError(reason, shown_formula(candidate.structure))
                yield replace(candidate, structure=refused)
                continue
        yield candidate
