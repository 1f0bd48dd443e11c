"""A process that has imported the trainer, and copies itself for each training.

Importing torch and deepmd-kit takes longer than the trainings of the tests. A request
comes through the socket that is standard input: the trainer's arguments and folder, and
the files that it is to write its exit status and its log to, and to keep open.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress

from mftscreen.finetune.trainer.process import main


def serve(server: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, _reap)
    gc.freeze()
    while True:
        request, files, _, _ = socket.recv_fds(server, 1 << 16, 8)
        if not request:
            return
        if pid := os.fork():
            for file in files:
                os.close(file)
            server.send(str(pid).encode())
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        server.close()
        status, log, *_ = files
        _train(*json.loads(request), status, log)


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _train(arguments: list[str], directory: str, status: int, log: int) -> None:
    code = b"1"
    try:
        os.setsid()
        os.chdir(directory)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        main(arguments)
        code = b"0"
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(status, code)
        os._exit(int(code))


if __name__ == "__main__":
    serve(socket.socket(fileno=os.dup(0)))
