"""What threads that wait cost, on a quiet machine and beside other work.

Steps on small arrays with two threads, with GNU OpenMP's way of waiting and ours
(:mod:`mftscreen.threads`), in turn; then the same while as many other processes compute
as there are cores. Prints how many times as many steps ours does.

    python benchmarks/waiting_threads.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

from mftscreen.threads import wait_politely

BUSY = "while True: pass"
WORK = """
import time, torch
torch.set_num_threads(2)
arrays = [torch.randn(3000, 96) for _ in range(20)]
weights = torch.randn(96, 96)
steps, end = -3, None
while end is None or time.monotonic() < end:
    for x in arrays:
        y = torch.tanh(x @ weights)
        (y * x + y.exp()).sum()
    steps += 1
    if not steps:
        end = time.monotonic() + {seconds}
print(steps)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP", "OMP"))}
    polite = dict(plain)
    wait_politely(polite)
    for name, n_others in (("quiet", 0), ("beside other work", os.cpu_count() or 1)):
        others = [
            subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_others)
        ]
        time.sleep(1.0)
        try:
            ratios = [
                steps(polite, options.seconds) / steps(plain, options.seconds)
                for _ in range(options.rounds)
            ]
        finally:
            for process in others:
                process.kill()
        middle, low, high = median(ratios), min(ratios), max(ratios)
        print(f"{name}: {middle:.2f} ({low:.2f}-{high:.2f}) times as many", flush=True)


def steps(environment: dict[str, str], seconds: float) -> int:
    """Return how many steps a process takes."""
    program = [sys.executable, "-c", WORK.format(seconds=seconds)]
    return max(int(subprocess.check_output(program, env=environment)), 1)


if __name__ == "__main__":
    main()
