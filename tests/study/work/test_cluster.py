"""A real Dask cluster on this machine, one of whose workers is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftscreen.errors import WorkerError
from mftscreen.study.config import load_study
from mftscreen.study.run import plan_study, read_study
from mftscreen.study.work.cluster import _threads_by_host, do_jobs_on_cluster

distributed = pytest.importorskip("distributed")

# Dask leaves sockets of lost connections to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_job(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    jobs = plan_study(load_study(write_study()), out)
    with _cluster(2) as cluster, distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        ended = do_jobs_on_cluster(jobs, out, cluster.scheduler_address, threads=1)
        outcomes = [next(ended)]
        os.kill(pids[0], signal.SIGKILL)
        outcomes += ended
        assert not [o.text for _, o in outcomes if o.failed]
        # another folder is one that the workers cannot see
        elsewhere = do_jobs_on_cluster(
            jobs[:1], tmp_path / "none", cluster.scheduler_address
        )
        ((_, outcome),) = elsewhere
        assert outcome.failed
        assert "cannot see the study's folder" in outcome.text
    assert {job.folder for job, _ in outcomes} == {job.folder for job in jobs}
    assert len(read_study(out).results) == 3


@pytest.mark.slow
def test_workers_that_are_killed_with_their_results_cost_no_job(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    jobs = plan_study(load_study(write_study()), out)
    # within its own client a caller has an event loop that is not ours
    with _cluster(1) as cluster, distributed.Client(cluster) as client:
        (pid,) = client.run(os.getpid).values()
        ended = do_jobs_on_cluster(jobs, out, cluster.scheduler_address, threads=1)
        outcomes = [next(ended)]
        _wait_until(lambda: all(client.who_has().values()))
        os.kill(pid, signal.SIGKILL)
        _wait_until(lambda: not all(client.who_has().values()))
        outcomes += ended
    assert not [o.text for _, o in outcomes if o.failed]
    assert {job.folder for job, _ in outcomes} == {job.folder for job in jobs}


def test_cores_of_a_host_are_shared_out_among_its_workers() -> None:
    workers = {"tcp://10.0.0.1:1": 1, "tcp://10.0.0.1:2": 2, "tls://node7:4": 4}
    assert _threads_by_host(workers) == {"10.0.0.1": 3, "node7": 4}


def _cluster(n_workers: int) -> Any:
    return distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
    )


def _wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(1200):
        if reached():
            return
        time.sleep(0.1)
    raise TimeoutError


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers at nowhere"):
        list(do_jobs_on_cluster([], tmp_path, "nowhere://x"))
