from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mftscreen.errors import DataError
from mftscreen.study.config import load_study
from mftscreen.study.job import run_job
from mftscreen.study.plan import Conditions
from mftscreen.study.run import _fitting, plan_study, read_study, unfinished
from mftscreen.study.summary import measurements, summarize
from mftscreen.study.tables import to_csv, to_text


def tables(directory: Path) -> tuple[str, str]:
    found = measurements(read_study(directory).results)
    return to_text(summarize(found)), to_csv(found)


def n_results(directory: Path) -> int:
    return len(list(directory.glob("jobs/*/result.json")))


def test_a_folder_without_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"study\.json: no such file; 'mftscreen study"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(DataError, match="is not the plan of a study"):
        read_study(tmp_path)


def test_what_is_not_finished_is_known(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    jobs = plan_study(load_study(write_study()), out)
    assert unfinished(jobs, out) == jobs
    (out / jobs[1].folder).mkdir(parents=True)
    (out / jobs[1].folder / "failure.txt").write_text("no memory\n")
    study = read_study(out)
    assert study.missing == tuple(job.conditions for job in jobs)
    assert study.failures == {jobs[1].conditions: "no memory"}
    part = study.only({"fold": {"fold_1"}, "train_share": {"1"}})
    assert part.missing == (jobs[1].conditions,)
    assert study.only({"fold": {"fold_0"}}).failures == {}
    with pytest.raises(DataError, match="study tiny has no job with fold=x"):
        study.only({"fold": {"x"}})


def test_the_plan_of_another_study_is_not_replaced(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = load_study(write_study())
    plan_study(first, out, write=False)
    assert not (out / "study.json").exists()
    plan_study(first, out)
    before = (out / "study.json").read_text()
    other = load_study(write_study(name="other"))
    with pytest.raises(DataError, match="of study 'tiny', not of 'other'"):
        plan_study(other, out)
    more = [{"strategies": ["kernel"], "seeds": [1, 2]}]
    plan_study(load_study(write_study(grids=more)), out, write=False)
    assert (out / "study.json").read_text() == before


def test_jobs_are_chosen_by_their_conditions(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    shares = {"strategies": ["kernel"], "train_shares": [1.0, 0.3333333333]}
    study, out = load_study(write_study(grids=[shares])), tmp_path / "out"
    assert len(plan_study(study, out)) == 6
    for written in ("0.333333", "0.3333333333"):
        wanted = {"train_share": {written}, "fold": {"fold_0", "fold_2"}}
        found = plan_study(study, out, wanted)
        assert [job.conditions.fold for job in found] == ["fold_0", "fold_2"]
        assert {job.conditions.train_share for job in found} == {0.3333333333}
    assert len(plan_study(study, out, {"train_share": {"1.0"}})) == 3
    assert len(plan_study(study, out, {"fold": {"fold_0, fold_2"}})) == 4
    # names of prototypes have commas themselves
    comma = Conditions("a", "prototype", "4 m, 4 m", "ft")
    assert _fitting([comma], {"fold": {"4 m, 4 m"}}, "tiny") == [comma]
    # one of several that is misspelt is not passed over
    with pytest.raises(DataError, match="study tiny has no job with train_share=all"):
        plan_study(study, out, {"train_share": {"1.0", "all"}})
    assert len(read_study(out).missing) == 6
    with pytest.raises(DataError, match="study tiny has no job with seed=2"):
        plan_study(study, out, {"seed": {"2"}})


def test_a_job_that_was_killed_while_it_was_tidied_up_is_taken_up_again(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    (job, *_) = plan_study(load_study(write_study()), tmp_path)
    run_job(job, tmp_path, threads=1)
    assert unfinished([job], tmp_path) == []
    left = tmp_path / job.folder / "model.ckpt-100.pt"
    left.write_bytes(b"")
    assert unfinished([job], tmp_path) == [job]
    run_job(job, tmp_path, threads=1)
    assert not left.exists()
    assert unfinished([job], tmp_path) == []


@pytest.mark.slow
def test_a_study_that_is_killed_thrice_has_the_same_tables(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    grids = [{"strategies": ["kernel"], "seeds": [1, 2]}]
    path, whole, killed = write_study(grids=grids), tmp_path / "a", tmp_path / "b"
    for job in plan_study(load_study(path), whole):
        run_job(job, whole)
    command = [sys.executable, "-m", "mftscreen", "study", "run", str(path)]
    command += ["-o", str(killed), "--threads", "1"]
    for number in (1, 2, 4):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while n_results(killed) < number:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert n_results(killed) < 6
    done = {p: p.stat().st_mtime_ns for p in killed.glob("jobs/*/result.json")}
    last = subprocess.run(command, check=False, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert "of 6 jobs are done already" in last.stderr
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert tables(killed) == tables(whole)


def test_tables_of_1530_jobs_take_seconds(tmp_path: Path) -> None:
    """The small files of that many finished jobs, made up."""
    metrics = {"n": 10.0, "mae": 0.5, "rmse": 0.7, "r2": 0.9, "spearman": 0.9}
    jobs = []
    for number in range(1530):
        conditions = {
            "task": f"task{number % 3}",
            "split": "loco",
            "fold": str(number // 30),
            "strategy": ["kernel", "ft"][number % 2],
            "seed": number % 30,
        }
        folder = tmp_path / "jobs" / str(number)
        folder.mkdir(parents=True)
        each = {"property": "p", "unit": "1", "n_train": 9, "metrics": {"ood": metrics}}
        document = {"conditions": conditions, "fingerprint": str(number)}
        result = {**document, "properties": [each], "seconds": 1.0, "version": "0"}
        (folder / "result.json").write_text(json.dumps(result))
        jobs.append({**document, "folder": f"jobs/{number}"})
    plan = {"name": "many", "published": None, "jobs": jobs}
    (tmp_path / "study.json").write_text(json.dumps(plan))
    begin = time.monotonic()
    text, lines = tables(tmp_path)
    assert time.monotonic() - begin < 10
    assert text.count("kernel") == text.count("ft  ") == 3
    assert len(lines.splitlines()) == 1531
