"""The jobs of a study: its grids taken apart, in the same order every time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

from pydantic import ValidationError

from mftscreen.errors import ConfigError
from mftscreen.finetune.compare.folds import in_fold
from mftscreen.finetune.config.blocks import SplitConfig
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.document import merge_blocks
from mftscreen.finetune.config.read import (
    explain_problem,
    load_config,
    resolve_paths,
)
from mftscreen.finetune.config.recipes import missing_files
from mftscreen.finetune.strategies import (
    COMPARABLE,
    DownstreamConfig,
    KernelConfig,
    MFTConfig,
)
from mftscreen.model.files.registry import check_model_source, member_for
from mftscreen.ood.splits import Split
from mftscreen.study.config import StudyConfig
from mftscreen.study.fingerprint import fingerprint
from mftscreen.study.folds import SharedRows, choose_names, prepare_split

__all__ = ["Conditions", "Job", "plan_jobs", "take_shard"]

ConfigT = TypeVar("ConfigT", MFTConfig, KernelConfig)

JOBS, SPLITS = "jobs", "splits"
"""Folders in that of a study."""


@dataclass(frozen=True)
class Conditions:
    """What tells a job from the others of its study.

    Attributes
    ----------
    task, split, fold, strategy : str
    backbone : str
        Empty for that of the task's own configuration.
    variant : str
        Empty for the task as it is.
    train_share : float
    train_seed, seed : int
    in_distribution : bool
        Whether the fold's test is one: it is of random rows.
    """

    task: str
    split: str
    fold: str
    strategy: str
    backbone: str = ""
    variant: str = ""
    train_share: float = 1.0
    train_seed: int = 0
    seed: int = 1
    in_distribution: bool = False

    def __str__(self) -> str:
        return " ".join(self._parts)

    def fit(self, wanted: Mapping[str, Collection[str]]) -> bool:
        """Return whether they are among those wanted.

        Parameters
        ----------
        wanted : mapping of str to collection of str
            Name of a condition to its values, as text.

        Examples
        --------
        >>> own = Conditions("gap", "loco", "3", "ft", train_share=0.001953125)
        >>> own.fit({"strategy": ["ft", "mft"], "train_share": ["0.00195312"]})
        True
        """
        return all(
            any(_is(getattr(self, name), text) for text in texts)
            for name, texts in wanted.items()
        )

    @property
    def slug(self) -> str:
        """The same as the name of a folder."""
        text = quote(".".join(self._parts), safe="+")
        if len(text) <= _LONGEST:
            return text
        # what is cut off may be all that tells two jobs apart
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{text[: _LONGEST - 9]}~{digest}"

    @property
    def _parts(self) -> list[str]:
        named = (self.strategy, self.backbone, self.variant)
        parts = [self.task, self.split, self.fold, *filter(None, named)]
        if self.train_share < 1:
            parts.append(f"share{self.train_share:.4g}-{self.train_seed}")
        return [*parts, f"seed{self.seed}"]


_LONGEST = 120
"""Characters of a folder's name, but for the fingerprint."""


def _is(value: str | float, text: str) -> bool:
    if not isinstance(value, float):
        return str(value) == text
    try:
        # as tables show it, or as it was written
        return math.isclose(float(text), value, rel_tol=1e-5)
    except ValueError:
        return False


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    conditions : Conditions
    config : DownstreamConfig
    fingerprint : str
        Of all that it depends on.
    collapse_report : bool
    """

    conditions: Conditions
    config: DownstreamConfig
    fingerprint: str
    collapse_report: bool = False

    @property
    def folder(self) -> Path:
        """Where it runs, in the folder of the study."""
        return Path(JOBS, f"{self.conditions.slug}-{self.fingerprint[:8]}")

    @property
    def n_gpus(self) -> int:
        """How many it trains on, where there are some."""
        training = self.config.plan.training
        return 1 if training is None else training.n_gpus

    def to_json(self) -> str:
        """Return the job as text for another process."""
        document = asdict(self) | {"config": self.config.model_dump(mode="json")}
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that :meth:`to_json` wrote.

        Parameters
        ----------
        text : str
        """
        document = json.loads(text)
        conditions = Conditions(**document.pop("conditions"))
        kind: Any = COMPARABLE[conditions.strategy]
        config = kind.model_validate(document.pop("config"))
        return cls(conditions, config, **document)


def plan_jobs(study: StudyConfig, directory: Path) -> list[Job]:
    """Return the jobs of a study; what is in several grids is one of them.

    Parameters
    ----------
    study : StudyConfig
    directory : Path
        Of the study. Splits are made there unless they are there already.

    Returns
    -------
    list of Job
        In the order of the grids; in each, by task, split, fold and so on, strategies
        last.

    Raises
    ------
    ConfigError
        If a task's configuration cannot be used, or files that it names are missing.
    DataError, ModelError
        If rows cannot be divided or a pretrained model cannot be read.
    """
    planner = _Planner(study, directory.resolve())
    jobs: dict[Conditions, Job] = {}
    for conditions in planner.all_conditions():
        if conditions not in jobs:
            jobs[conditions] = planner.job(conditions)
    return list(jobs.values())


def take_shard(jobs: Iterable[Job], number: int, count: int) -> list[Job]:
    """Return one of several equal parts of the jobs, drawn by their hashes.

    Parameters
    ----------
    jobs : iterable of Job
    number : int
        From 1 to `count`.
    count : int

    Returns
    -------
    list of Job
        In their order. Strategies, some of which take longer, are spread evenly.
    """
    jobs = list(jobs)
    # two jobs may train the same: scratch beside two backbones of one size
    order = sorted(jobs, key=lambda job: (job.fingerprint, job.conditions.slug))
    chosen = {job.conditions for job in order[number - 1 :: count]}
    return [job for job in jobs if job.conditions in chosen]


class _Planner:
    """Reads what jobs have in common once."""

    def __init__(self, study: StudyConfig, directory: Path) -> None:
        self._study = study
        self._directory = directory
        self._tasks = {
            name: _load_task(name, path) for name, path in study.tasks.items()
        }
        self._shared = SharedRows(self._tasks.values())
        self._derived = cache(self._derive)
        self._split = cache(self._prepare)

    def all_conditions(self) -> Iterator[Conditions]:
        study = self._study
        for grid in study.grids:
            tasks, splits = (study.chosen(grid, kind) for kind in ("tasks", "splits"))
            backbones, variants = (
                study.chosen(grid, kind) or [""] for kind in ("backbones", "variants")
            )
            for task, name in product(tasks, splits):
                path, split = self._split(task, name)
                folds = choose_names(split, grid.folds, path)
                for fold, backbone, variant, share, draw, seed, strategy in product(
                    folds, backbones, variants, grid.train_shares, grid.train_seeds,
                    grid.seeds, grid.strategies,
                ):  # fmt: skip
                    yield Conditions(
                        task, name, fold, strategy, backbone, variant, share,
                        draw if share < 1 else 0, seed, split.method == "random",
                    )  # fmt: skip

    def job(self, conditions: Conditions) -> Job:
        path, _ = self._split(conditions.task, conditions.split)
        derived = self._derived(
            conditions.task,
            conditions.backbone,
            conditions.variant,
            conditions.strategy,
        )
        id_share = self._study.splits[conditions.split].id_share
        settings = SplitConfig(
            file=path,
            fold=conditions.fold,
            # the test of random rows is one of its own
            id_share=0.0 if conditions.in_distribution else id_share,
            train_share=conditions.train_share,
            train_seed=conditions.train_seed,
        )
        data = derived.data.model_copy(update={"split": settings})
        config = in_fold(
            _with_seed(derived, conditions.seed).model_copy(update={"data": data}),
            path,
            conditions.fold,
        )
        # of what starts from random weights there is none
        plan = config.plan
        report = self._study.collapse_report and plan.trains and plan.transfers
        return Job(conditions, config, fingerprint(config, report), report)

    def _derive(
        self, task: str, backbone: str, variant: str, strategy: str
    ) -> DownstreamConfig:
        config = self._tasks[task]
        if backbone:
            config = _start_from(config, self._study, backbone)
        if variant:
            config = _vary(config, self._study, variant, task)
        derived = derive_config(config, strategy)
        named = self._study.backbones[backbone].pretrained if backbone else ""
        replaced = "pretrained" in self._study.variants.get(variant, {})
        if isinstance(named, list) and not replaced:
            derived = _side_by_side(derived, named, config, f"backbones: {backbone}")
        if missing := missing_files(derived):
            problems = [f"tasks: {task}: not there yet: {path}" for path in missing]
            raise ConfigError(problems)
        named = getattr(derived, "pretrained", [])
        for source in named if isinstance(named, list) else [named]:
            check_model_source(source, Path())
        return derived

    def _prepare(self, task: str, name: str) -> tuple[Path, Split]:
        path = prepare_split(
            self._study.splits[name],
            self._tasks[task],
            self._directory / SPLITS,
            f"{task}-{name}",
            self._shared,
        )
        return path, Split.read(path)


def _load_task(name: str, path: Path) -> MFTConfig:
    config: Any = load_config(path)
    # raises unless it has all settings; without a split, which the study has
    mft = cast("MFTConfig", derive_config(config, "mft"))
    _check_heads_are_new(mft, f"tasks: {name}")
    data = mft.data.model_copy(update={"split": None, "validation": None})
    return mft.model_copy(update={"data": data})


def _check_heads_are_new(config: MFTConfig, where: str) -> None:
    if config.transfer_properties:
        problem = (
            f"{where}: transfer_properties: the heads may have been trained on the "
            "rows of a fold's test, so that nothing can be compared"
        )
        raise ConfigError([problem])


def _validated(kind: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{where}: {explain_problem(dict(e), kind)}" for e in error.errors()
        ]
        raise ConfigError(problems) from error


def _start_from(config: MFTConfig, study: StudyConfig, name: str) -> MFTConfig:
    backbone = study.backbones[name]
    values = {key: getattr(config, key) for key in type(config).model_fields}
    named = backbone.pretrained
    values["pretrained"] = named if isinstance(named, str) else named[0]
    if backbone.head is not None:
        if isinstance(config.auxiliary, list):
            problem = (
                f"backbones: {name}: head: {backbone.head!r} cannot stand for each of "
                "several auxiliary heads; leave it out"
            )
            raise ConfigError([problem])
        update = {"head": backbone.head}
        values["auxiliary"] = config.auxiliary.model_copy(update=update)
    return _validated(MFTConfig, values, f"backbones: {name}")


def _side_by_side(
    derived: DownstreamConfig, named: list[str], config: MFTConfig, where: str
) -> KernelConfig:
    head = next(iter(config.auxiliaries.values())).head
    values = {key: getattr(derived, key) for key in type(derived).model_fields}
    values["pretrained"] = [member_for(name, head) for name in named]
    return _validated(KernelConfig, values, where)


def _vary(config: MFTConfig, study: StudyConfig, name: str, task: str) -> MFTConfig:
    document = merge_blocks(config.model_dump(mode="json"), study.variants[name])
    varied = _validated(MFTConfig, document, f"variants: {name}")
    _check_heads_are_new(varied, f"variants: {name}")
    if varied.data != config.data or _quantities(varied) != _quantities(config):
        problem = f"variants: {name}: rows and properties are those of the tasks"
        raise ConfigError([problem])
    if "preset" in study.variants[name] or varied.training.seed != config.training.seed:
        problem = (
            f"variants: {name}: 'preset' has nothing to fill in, and seeds are those "
            "of the grids: neither would change anything"
        )
        raise ConfigError([problem])
    resolved: MFTConfig = resolve_paths(varied, study.tasks[task].parent)
    return resolved


def _quantities(config: MFTConfig) -> dict[str, object]:
    """Return what is predicted, and from which labels, by property."""
    return {
        name: (p.label_source(name), p.property_names(name), p.unit, p.formula_atoms)
        for name, p in config.properties.items()
    }


def _with_seed(config: DownstreamConfig, seed: int) -> DownstreamConfig:
    if isinstance(config, KernelConfig):
        return config.model_copy(update={"seed": seed})
    training = config.training.model_copy(update={"seed": seed})
    return config.model_copy(update={"training": training})
