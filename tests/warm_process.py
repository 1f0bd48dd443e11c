"""A process that has imported what takes long, and copies itself for each program.

Importing torch and deepmd-kit takes longer than most of what the tests do with them. A
request comes through the socket that is standard input: a program, its arguments and
folder, and the files that it is to write to and to keep open. The first file is for its
exit status, as in :attr:`subprocess.Popen.returncode`.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

IMPORTED = (
    "mftscreen.finetune.trainer.process",
    "mftscreen.cli.rank",
    "mftscreen.cli.report",
    "mftscreen.ood.map.embedding",
    "mftscreen.ood.ofm.cells",
    "mftscreen.ood.ofm.featurizer",
    "mftscreen.ood.ofm.voronoi",
    "mftscreen.predictor",
    "mftscreen.screen.rank",
    "mftscreen.screen.report.contents",
    "mftscreen.screen.report.page",
    "mftscreen.screen.work.pipeline",
    "mftscreen.screen.work.workers",
    "pandas",
    "sklearn.base",
)

running: dict[int, int] = {}
"""Where the exit status of a copy goes, by the copy."""


def serve(server: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, _reap)
    gc.freeze()
    while True:
        request, files, _, _ = socket.recv_fds(server, 1 << 16, 8)
        if not request:
            return
        status, *streams = files
        with _no_reaping():
            pid = os.fork()
            running[pid] = status
        if pid:
            for file in streams:
                os.close(file)
            server.send(str(pid).encode())
        else:
            os.close(status)
            server.close()
            _run(*json.loads(request), *streams)


@contextmanager
def _no_reaping() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _reap(*_: object) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        file = running.pop(pid)
        os.write(file, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(file)


def _run(
    program: str, arguments: list[str], folder: str, out: int, err: int, *_: int
) -> None:
    """Be a new process that runs a program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(folder)
    for file, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(file, number)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = ["-c", *arguments]
    code = 0
    try:
        exec(program, vars(main))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    finally:
        # as at the end of every program: semaphores, for instance, are given back
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = ""  # as for ``python -c``
    for name in IMPORTED:
        import_module(name)
    serve(socket.socket(fileno=os.dup(0)))
