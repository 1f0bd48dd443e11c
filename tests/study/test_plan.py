from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mftscreen.errors import ConfigError, DataError, ModelError
from mftscreen.ood.splits import Split
from mftscreen.study.config import load_study
from mftscreen.study.fingerprint import file_digest
from mftscreen.study.plan import Conditions, Job, plan_jobs, take_shard

GRIDS = [
    {"strategies": ["kernel", "ft"], "train_shares": [1, 0.5], "train_seeds": [0, 1]},
    {"strategies": ["kernel", "mft"], "seeds": [1, 2], "folds": ["fold_1"]},
]


@pytest.fixture
def jobs(write_study: Callable[..., Path], tmp_path: Path) -> list[Job]:
    return plan_jobs(load_study(write_study(grids=GRIDS)), tmp_path / "out")


def test_a_plan_is_complete_and_the_same_every_time(
    jobs: list[Job], write_study: Callable[..., Path], tmp_path: Path
) -> None:
    # 3 folds x (1 whole + 2 halves) x 2; kernel of fold_1 with seed 1 is in both
    assert len(jobs) == 18 + 3
    expected = {
        ("density", "random", f"fold_{k}", strategy, share, draw, 1)
        for k in range(3)
        for strategy in ("kernel", "ft")
        for share, draw in ((1, 0), (0.5, 0), (0.5, 1))
    }
    expected |= {
        ("density", "random", "fold_1", strategy, 1, 0, seed)
        for strategy in ("kernel", "mft")
        for seed in (1, 2)
    }
    keys = [
        (c.task, c.split, c.fold, c.strategy, c.train_share, c.train_seed, c.seed)
        for c in (job.conditions for job in jobs)
    ]
    assert set(keys) == expected
    assert len({job.folder for job in jobs}) == len(jobs)
    path = write_study(grids=GRIDS)
    assert plan_jobs(load_study(path), tmp_path / "out") == jobs
    # in another folder, other paths, but the same fingerprints
    elsewhere = plan_jobs(load_study(path), tmp_path / "elsewhere")
    assert [job.folder for job in elsewhere] == [job.folder for job in jobs]
    assert elsewhere != jobs


def test_a_job_says_what_is_to_be_trained(jobs: list[Job], tmp_path: Path) -> None:
    by_slug = {job.conditions.slug: job for job in jobs}
    half = by_slug["density.random.fold_2.ft.share0.5-1.seed1"]
    assert str(half.conditions) == "density random fold_2 ft share0.5-1 seed1"
    assert half.config.strategy == "ft"
    split = half.config.data.split
    assert split is not None
    assert (split.fold, split.train_share, split.train_seed) == ("fold_2", 0.5, 1)
    assert split.id_share == 0
    assert len(Split.read(split.file).folds) == 3
    assert half.conditions.in_distribution
    two = by_slug["density.random.fold_1.mft.seed2"]
    assert two.config.training.seed == 2
    kernel = by_slug["density.random.fold_1.kernel.seed2"]
    assert kernel.config.seed == 2
    for job in jobs:
        assert Job.from_json(job.to_json()) == job


def test_what_a_job_depends_on_changes_its_folder(
    jobs: list[Job], write_study: Callable[..., Path], tmp_path: Path, tiny_task: Path
) -> None:
    folders = {job.folder for job in jobs}
    assert all(str(job.folder).endswith(job.fingerprint[:8]) for job in jobs)

    def shared(**changed: object) -> int:
        study = load_study(write_study(**{"grids": GRIDS, **changed}))
        return len(folders & {job.folder for job in plan_jobs(study, tmp_path / "out")})

    options = {"folds": 3, "val_share": 0.1}
    assert shared() == len(folders)
    assert shared(name="other", description="words", published="table_4") == len(
        folders
    )
    changed = {"random": {"method": "random", "options": {**options, "seed": 4}}}
    assert shared(splits=changed) == 0
    text = tiny_task.read_text()
    longer = tiny_task.with_name("longer.yaml")
    longer.write_text(text.replace("steps: 20", "steps: 30"))
    # those by kernels have no steps
    kernels = sum(job.conditions.strategy == "kernel" for job in jobs)
    assert shared(tasks={"density": str(longer)}) == kernels
    lines = tiny_task.with_name("data.extxyz").read_text()
    other = tiny_task.with_name("fewer.extxyz")
    other.write_text("\n".join(lines.splitlines()[:-4]) + "\n")
    longer.write_text(text.replace("data.extxyz", "fewer.extxyz"))
    assert shared(tasks={"density": str(longer)}) == 0


def test_variants_change_keys_of_every_task(
    write_study: Callable[..., Path], tmp_path: Path, tiny_task: Path
) -> None:
    variants = {
        "baseline": {},
        "long": {"training": {"steps": 50}, "auxiliary": {"loss": {"force": [1, 1]}}},
        "random_head": {"transfer_head": False},
    }
    grids = [{"strategies": ["ft", "mft"], "folds": ["fold_0"]}]

    def plan(**changed: object) -> dict[str, Job]:
        study = load_study(write_study(grids=grids, **changed))
        return {job.conditions.slug: job for job in plan_jobs(study, tmp_path / "out")}

    found = plan(variants=variants)
    assert len(found) == 6
    plain, base, long = (
        jobs[f"density.random.fold_0.mft{variant}.seed1"]
        for jobs, variant in ((plan(), ""), (found, ".baseline"), (found, ".long"))
    )
    assert base.config == plain.config
    assert base.fingerprint == plain.fingerprint
    assert long.config.training.steps == 50
    assert long.config.training.batch_size == base.config.training.batch_size
    assert long.config.auxiliary.loss.force == (1, 1)
    assert long.config.auxiliary.loss.energy == base.config.auxiliary.loss.energy
    assert not found["density.random.fold_0.mft.random_head.seed1"].config.transfer_head
    # as many steps on the property
    shorter = found["density.random.fold_0.ft.long.seed1"].config.training.steps
    assert shorter == round(50 * long.config.downstream_share)
    for job in found.values():
        assert Job.from_json(job.to_json()) == job
    for changes, message in (
        ({"training": {"stepz": 1}}, "variants: bad: training.stepz: .*'steps'"),
        ({"data": {"train": ["x.csv"]}}, "variants: bad: rows and properties are"),
        ({"training": {"steps": -1}}, "variants: bad: training.steps"),
        ({"transfer_properties": True}, "may have been trained on the rows of a fold"),
        ({"training": {"seed": 5}}, "seeds are those of the grids"),
        ({"preset": "qm9"}, "'preset' has nothing to fill in"),
        (
            {"properties": {"number_density": {"column": "other"}}},
            "variants: bad: rows and properties are",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            plan(variants={"bad": changes})


def test_misspelt_models_are_named_before_any_job(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    for strategy, named in (("ft", "mft-mimi"), ("kernel", ["mft-mini", "mft-mimi"])):
        path = write_study(
            backbones={"other": {"pretrained": named}},
            grids=[{"strategies": [strategy], "folds": 1}],
        )
        with pytest.raises(ModelError, match=r"no model named 'mft-mimi'.*'mft-mini'"):
            plan_jobs(load_study(path), tmp_path / "out")


def test_a_collapse_report_is_new_work_only_where_there_is_one(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    grids = [{"strategies": ["scratch", "kernel", "ft"], "folds": 1}]
    plain, reported = (
        plan_jobs(
            load_study(write_study(grids=grids, collapse_report=wanted)),
            tmp_path / "out",
        )
        for wanted in (False, True)
    )
    same = [
        a.fingerprint == b.fingerprint for a, b in zip(plain, reported, strict=True)
    ]
    assert same == [True, True, False]


def test_kernels_read_several_descriptors(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "own.mft").write_bytes(b"a model")
    path = write_study(
        backbones={
            "both": {"pretrained": ["mft-mini", "own.mft"]},
            "family": {"pretrained": ["mft-mini-pretrained", "mft-mini"]},
            "one": {"pretrained": "mft-mini"},
        },
        grids=[{"strategies": ["kernel"], "folds": 1}],
    )
    jobs = plan_jobs(load_study(path), tmp_path / "out")
    both, family, one = jobs
    # of the kind of structure that the auxiliary head is for
    assert one.config.pretrained == "mft-mini-crystals"
    assert both.config.pretrained == ["mft-mini-crystals", str(tmp_path / "own.mft")]
    assert family.config.pretrained == ["mft-mini-pretrained", "mft-mini-crystals"]
    # a variant's model replaces them all, as it replaces a single one
    both_varied, *_ = plan_jobs(
        load_study(
            write_study(
                "varied.yaml",
                backbones={"both": {"pretrained": ["mft-mini", "own.mft"]}},
                variants={"other": {"pretrained": "mft-mini-pretrained"}},
                grids=[{"strategies": ["kernel"], "folds": 1}],
            )
        ),
        tmp_path / "out",
    )
    assert both_varied.config.pretrained == "mft-mini-pretrained"
    twice = {"pretrained": ["mft-mini", "mft-mini-crystals"]}
    with pytest.raises(ConfigError, match=r"backbones: twice: .*stands in it twice"):
        plan_jobs(
            load_study(write_study("twice.yaml", backbones={"twice": twice})),
            tmp_path / "out",
        )
    (tmp_path / "own.mft").write_bytes(b"another")
    file_digest.cache_clear()
    changed, *same = plan_jobs(load_study(path), tmp_path / "out")
    assert changed.folder != both.folder
    assert [job.folder for job in same] == [family.folder, one.folder]


def test_shards_divide_the_jobs(jobs: list[Job]) -> None:
    for count in (1, 2, 5, 30):
        shards = [take_shard(jobs, number + 1, count) for number in range(count)]
        together = [job for shard in shards for job in shard]
        assert sorted(map(id, together)) == sorted(map(id, jobs))
        sizes = {len(shard) for shard in shards}
        assert max(sizes) - min(sizes) <= 1
    assert [job for job in jobs if job in shards[0]] == shards[0]
    # two that train the same are two
    twins = [jobs[0], replace(jobs[0], conditions=replace(jobs[0].conditions, seed=9))]
    assert take_shard(twins, 1, 2) + take_shard(twins, 2, 2) == twins


def test_folds_and_files_that_are_not_there_are_named(
    write_study: Callable[..., Path], tmp_path: Path, tiny_task: Path
) -> None:
    def plan(**changed: object) -> None:
        plan_jobs(load_study(write_study(**changed)), tmp_path / "out")

    with pytest.raises(DataError, match="no fold 'x'; the folds are fold_0"):
        plan(grids=[{"strategies": ["kernel"], "folds": ["x"]}])
    with pytest.raises(DataError, match="4 folds are asked for; there are 3"):
        plan(grids=[{"strategies": ["kernel"], "folds": 4}])
    with pytest.raises(ConfigError, match="clusters: method random has no"):
        plan(splits={"random": {"method": "random", "options": {"clusters": 3}}})
    with pytest.raises(ConfigError, match=r"density: not there yet: .*model\.mft"):
        plan(backbones={"own": {"pretrained": "model.mft"}})
    going_on = tiny_task.with_name("going_on.yaml")
    going_on.write_text(tiny_task.read_text() + "transfer_properties: true\n")
    with pytest.raises(ConfigError, match="nothing can be compared"):
        plan(tasks={"density": str(going_on)})
    tested = tiny_task.with_name("tested.yaml")
    document = yaml.safe_load(tiny_task.read_text())
    document["data"]["test"] = {"ood": document["data"]["train"][0]}
    document["description"] = "no file: made up for model.pt"
    tested.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="a split are called 'id' and 'ood'; rename"):
        plan(tasks={"density": str(tested)})


def test_a_name_of_a_folder_is_one() -> None:
    conditions = Conditions("a", "b", "Si/O2 x", "ft", "7net-0", "", 1 / 3, 2, 7)
    assert conditions.slug == "a.b.Si%2FO2%20x.ft.7net-0.share0.3333-2.seed7"
    # of a long one nothing that tells jobs apart is lost
    fold = "62: 4 m, 4 m, 4 m | 4 m, 8 1, 8 1 | 4 -1, 4 m, 8 1"
    slugs = {
        Conditions("perovskites", "prototype", fold, strategy, variant=variant).slug
        for strategy in ("ft", "mft")
        for variant in ("", "balanced")
    }
    assert len(slugs) == 4
    assert max(map(len, slugs)) <= 120
