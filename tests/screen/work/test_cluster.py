"""Real Dask schedulers and workers: waited for, lacking something, lost."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner

from mftscreen import __version__
from mftscreen.cli import main
from mftscreen.errors import (
    DataError,
    WorkerError,
)
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.work import pipeline
from mftscreen.screen.work.cluster import connect, leave
from mftscreen.screen.work.evaluation import EvaluationSettings, Evaluator
from mftscreen.screen.work.journal import Journal, JournalRow
from mftscreen.screen.work.pipeline import screen
from mftscreen.screen.work.workers import Workers

pytest.importorskip("distributed")

from distributed.comm import CommClosedError

# Dask leaves sockets of lost connections to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LACKING = """\
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Lacking())
"""

OTHER_VERSION = "import mftscreen\nmftscreen.__version__ = '0.0.9'\n"


@dataclass
class Dask:
    """Processes of a cluster, started as users start them."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_scheduler(self) -> str:
        about = self.folder / f"scheduler-{len(self.processes)}.json"
        self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(about),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                address: str = json.loads(about.read_text())["address"]
            except (OSError, ValueError):
                assert time.monotonic() < deadline, "the scheduler does not start"
                time.sleep(0.05)
            else:
                return address

    def start_worker(self, scheduler: str, customized: str = "") -> None:
        """Start a worker, in which some code runs before all else."""
        shadow = self.folder / f"shadow-{len(self.processes)}"
        shadow.mkdir()
        (shadow / "sitecustomize.py").write_text(customized)
        path = [str(shadow), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._start(
            "worker", scheduler, "--no-dashboard", "--nthreads", "1", "--no-nanny",
            PYTHONPATH=os.pathsep.join(path),
        )  # fmt: skip

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()

    def _start(self, *arguments: str, **environment: str) -> None:
        program = "from dask.__main__ import main; main()"
        with (self.folder / f"log-{len(self.processes)}").open("wb") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log_file, stderr=log_file, env={**os.environ, **environment},
            )  # fmt: skip
        self.processes.append(process)


@pytest.fixture
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    cluster = Dask(tmp_path_factory.mktemp("dask"))
    yield cluster
    for process in reversed(cluster.processes):
        process.kill()
        process.wait()


@pytest.fixture
def settings(tiny_model: Path) -> EvaluationSettings:
    return Evaluator(
        EvaluationSettings((str(tiny_model),), ("gap",), device="cpu")
    ).settings


@pytest.mark.slow
def test_waits_aloud_and_sends_a_model_that_is_not_there(
    dask: Dask,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # a path that leads to the model in this process only
    (tmp_path / "tiny.mft").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    here = "/proc/self/cwd/tiny.mft"
    evaluator = Evaluator(EvaluationSettings((here,), ("gap",), device="cpu"))
    chunks = [[bulk("MgO", "rocksalt", a=4 + k / 10)] for k in range(3)]
    address = dask.start_scheduler()
    with Workers(evaluator.settings, scheduler=address) as workers:
        tasks = [workers.submit(chunk) for chunk in chunks]
        assert f"Waiting for workers: the Dask scheduler at {address}" in caplog.text
        dask.start_worker(address)
        found = [workers.results(task) for task in tasks]
        monkeypatch.chdir(dask.folder)  # nothing is sent twice
        found.append(workers.results(workers.submit(chunks[0])))
    assert caplog.text.count("Waiting") == 1
    monkeypatch.chdir(tmp_path)
    for chunk, results in zip([*chunks, chunks[0]], found, strict=True):
        assert [outcome for outcome, _ in results] == [o for o, _ in evaluator(chunk)]


def test_relative_model_has_an_absolute_path_for_workers(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    made = Evaluator(EvaluationSettings((tiny_model.name,), ("gap",), device="cpu"))
    assert made.settings.models == (str(tiny_model),)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("customized", "reason"),
    [
        (LACKING.format(package="mftscreen"), "missing there: No module named 'mft"),
        (LACKING.format(package="ase"), "missing there: No module named 'ase"),
        (LACKING.format(package="deepmd"), "missing there: No module named 'deepmd"),
        (
            OTHER_VERSION,
            rf"mftscreen is 0\.0\.9 there and {re.escape(__version__)} here",
        ),
    ],
    ids=["mftscreen", "ase", "deepmd", "version"],
)
def test_worker_that_lacks_something_is_named(
    dask: Dask, settings: EvaluationSettings, customized: str, reason: str
) -> None:
    address = dask.start_scheduler()
    with Workers(settings, scheduler=address) as workers:
        task = workers.submit([bulk("MgO", "rocksalt", a=4.2)])
        dask.start_worker(address, customized)  # later than the work
        named = rf"the Dask worker tcp://\S+ on {platform.node()}: .*{reason}"
        with pytest.raises(WorkerError, match=named):
            workers.results(task)


@pytest.mark.slow
def test_model_that_changed_on_a_worker_is_told_with_the_worker(
    dask: Dask, settings: EvaluationSettings, tmp_path: Path
) -> None:
    # there, as a file that is replaced while the screening waits for workers
    other = tmp_path / "other.mft"
    other.write_bytes(b"another")
    changed = EvaluationSettings((str(other),), ("gap",), "cpu", sha256=settings.sha256)
    address = dask.start_scheduler()
    dask.start_worker(address)
    with Workers(changed, scheduler=address) as workers:
        named = rf"the Dask worker tcp://\S+ on {platform.node()}: {other}"
        with pytest.raises(WorkerError, match=named):
            workers.results(workers.submit([bulk("MgO", "rocksalt", a=4.2)]))


def rows_of(run: Path) -> int:
    try:
        with Journal(run, read_only=True) as journal:
            return sum(1 for _ in journal.rows())
    except DataError:  # not there yet
        return 0


SMALL_CHUNKS = (
    "from mftscreen.screen.work import pipeline; pipeline.CHUNK = 4; "
    "from mftscreen.cli import main; main()"
)


@pytest.mark.slow
def test_lost_scheduler_asks_for_the_same_command_again(
    dask: Dask,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start_copy: Callable[..., Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "CHUNK", 4)
    crystals = [bulk("MgO", "rocksalt", a=4 + 0.01 * k) * (2, 2, 2) for k in range(40)]
    write("pool.extxyz", crystals, format="extxyz")
    command = ["rank", "pool.extxyz", "-m", str(tiny_model), "--device", "cpu", "-q"]
    command += ["--run", "run", "--scheduler"]
    address = dask.start_scheduler()
    dask.start_worker(address)
    paths = tmp_path / "output", tmp_path / "errors"
    with paths[0].open("w") as output, paths[1].open("w") as stream:
        files = output.fileno(), stream.fileno()
        process = start_copy(SMALL_CHUNKS, [*command, address], tmp_path, *files)
    while process.poll() is None and rows_of(tmp_path / "run") == 0:
        time.sleep(0.02)
    dask.kill(0)
    assert process.wait(100) == 1
    errors = paths[1].read_text()
    told = errors.splitlines()
    assert told[-1].startswith(f"Error: the Dask scheduler at {address} has gone")
    assert "give the same command again" in told[-1]
    assert "Traceback" not in errors
    assert len(told) < 5
    assert 0 < rows_of(tmp_path / "run") < 40

    address = dask.start_scheduler()
    dask.start_worker(address)
    again = CliRunner().invoke(main, [*command, address])
    whole = CliRunner().invoke(main, command[:-3])
    assert again.exit_code == 0, again.stderr
    assert again.stdout == whole.stdout
    assert whole.stdout.count(",False,ok,") == 40


def test_result_on_its_way_when_the_scheduler_went_is_not_told_of(
    dask: Dask, caplog: pytest.LogCaptureFixture
) -> None:
    leave(connect(dask.start_scheduler()))
    tornado = logging.getLogger("tornado.application")
    with caplog.at_level(logging.ERROR):
        for error in (CommClosedError("gone"), ZeroDivisionError("other")):
            try:
                raise error
            except type(error):
                tornado.error("in callback", exc_info=True)
    assert "other" in caplog.text
    assert "gone" not in caplog.text


PAGE = Path(__file__).parents[3] / "docs" / "tutorials" / "slurm.md"

STAND_IN = """\
class SLURMCluster:
    scheduler_address = "tcp://10.0.0.1:40123"

    def __init__(self, **options):
        pass

    def scale(self, jobs):
        pass
"""


def test_program_of_the_documentation_needs_no_terminal(tmp_path: Path) -> None:
    (program,) = re.findall(r"```\n(# workers\.py\n.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "workers.py").write_text(program)
    (tmp_path / "dask_jobqueue.py").write_text(STAND_IN)
    with subprocess.Popen(
        [sys.executable, "workers.py"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "tcp://10.0.0.1:40123\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.terminate()


@pytest.mark.slow
# a worker that is killed is what Dask warns about
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_dask_worker_killed_in_the_middle(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(pipeline, "CHUNK", 8)
    settings = EvaluationSettings((str(tiny_model),), ("gap",), device="cpu")
    evaluator = Evaluator(settings)
    crystals = [bulk("MgO", "rocksalt", a=4 + 0.005 * k) * (2, 2, 2) for k in range(96)]
    candidates = [Candidate(f"c-{k}", atoms) for k, atoms in enumerate(crystals)]
    candidates.insert(50, Candidate("broken", DataError("row 50 is cut short")))

    def run(scheduler: str | None, kill: Callable[[], None]) -> list[JournalRow]:
        with (
            Journal(None) as journal,
            Workers(evaluator.settings, 1, scheduler) as made,
        ):
            journal.begin({})
            for step, _ in enumerate(screen(candidates, evaluator.key, made, journal)):
                if step == 2:
                    kill()
            return list(journal.rows())

    alone = run(None, lambda: None)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        pid = cluster.workers[0].pid
        spread_out = run(
            cluster.scheduler_address, lambda: os.kill(pid, signal.SIGKILL)
        )
        assert cluster.workers[0].pid != pid  # the nanny has put another one there
    assert [row.id for row in spread_out] == [row.id for row in alone]
    assert [row.outcome.status for row in alone].count("ok") == 96
    for one, other in zip(alone, spread_out, strict=True):
        assert other.outcome.status == one.outcome.status
        assert other.outcome.reason == one.outcome.reason
        assert other.outcome.p_values == one.outcome.p_values
        assert other.outcome.values == {
            name: pytest.approx(value, rel=1e-9)
            for name, value in one.outcome.values.items()
        }
