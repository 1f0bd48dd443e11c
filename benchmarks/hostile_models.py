"""Model files that were made to harm: what they do, watched by an audit hook.

``python benchmarks/hostile_models.py [--trees 1000] [--files 2000] [--seed 0]``

Parameter trees of a shipped model, or of the one that ``--model`` names, which may have
several descriptors side by side, are mutated (keys added that deepmd-kit knows to run
code, read files or open addresses; values replaced, removed, repeated, moved), and
files are damaged (bytes flipped, cut, repeated, members swapped, compressed). Each is
loaded; the card vouches for a mutated checkpoint, so that it is looked at. It must
either load or end in a typed error; meanwhile no file may be opened but itself and
those of installed packages, no file may be made, renamed or removed, and there may be
no socket, no process, no foreign library, no pickle of Python's. (What is opened in C++
is not seen; TorchScript, which does that, is on no list of what is allowed.)
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import random
import resource
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import click

from mftscreen.errors import MftscreenError
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state
from mftscreen.model.files.registry import registered_models
from mftscreen.model.loading import load_model

POISON: dict[str, list[Any]] = {
    "type": ["frozen", "pairtab", "linear_ener", "hybrid", "dpa4", "pairwise_dprc"],
    "model_file": ["weights.pth", "/etc/passwd", "x.pt2"],
    "use_srtab": ["/etc/passwd", "http://127.0.0.1:9/x", "nowhere"],
    "tab_file": ["/etc/passwd"],
    "models": [[{"type": "frozen", "model_file": "weights.pth"}]],
    "modifier": [{"type": "dipole_charge", "model_name": "weights.pth"}],
    "compress": [{"model_file": "weights.pth"}],
    "spin": [{"use_spin": [True]}],
    "hessian_mode": [True],
    "activation_function": ["os.system", "eval", 7, "silut:1e999", "SiLU"],
    "nlayers": [10**9, 0, -1], "n_dim": [10**9, 60_000], "neuron": [[60_000] * 40],
    "e_rcut": [float("nan"), float("inf"), -1.0, 1e300],
    "e_sel": [10**9, "auto:1.1"],
    "type_map": [["Xx"], [], "HHe", [1, 2]],
    "property_name": ["../../x", "", "energy", "__class__"],
}  # fmt: skip
VALUES: list[Any] = [
    None, True, -1, 0, 1, 2, 10**6, 2**62, 1e-300, 1e300, float("nan"), "", "x",
    "/etc/passwd", "x" * 5000, [], {}, [[]], {"type": "frozen"}, ["a"] * 1000,
]  # fmt: skip
FORBIDDEN = (
    "socket.", "urllib.", "subprocess.", "os.system", "os.exec", "os.spawn", "os.fork",
    "os.posix_spawn", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link",
    "os.symlink", "os.chmod", "shutil.", "webbrowser.",
)  # fmt: skip
"""Beginnings of Python's audit events."""

FILES = ("open", "ctypes.dlopen")
"""Events with a file, which may be one of an installed package. (None is the program
itself.)"""

DRIVER = "libnvidia-ml.so.1"
"""What torch asks whether there is a GPU, whatever the model."""

watched: list[str] = []
_watching = False
_own: set[str] = set()
_installed = (
    *(os.path.realpath(path) for path in set(sysconfig.get_paths().values())),
    os.path.realpath(Path(__file__).resolve().parents[1] / "mftscreen"),
    "/proc", "/sys", "/dev/null", "/usr/lib", "/lib",
)  # fmt: skip


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what a model file has no business to do."""
    if not _watching:
        return
    if event in FILES and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        known = path in _own or path.startswith(_installed) or arguments[0] == DRIVER
        if not known:
            watched.append(f"{event} {path}")
    elif event.startswith(FORBIDDEN):
        watched.append(event)
    elif event == "pickle.find_class":
        watched.append(f"{event} {arguments}")


def paths(tree: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all nodes of a tree."""
    found = [place] if place else []
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree[:3] if isinstance(tree, list) else ())
    )
    for key, value in items:
        found += paths(value, (*place, key))
    return found


def mutate_tree(heads: dict[str, Any], rng: random.Random) -> None:
    """Change a tree of parameters in place, once or a few times."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        place = rng.choice(paths(heads))
        target: Any = heads
        for key in place[:-1]:
            target = target[key]
        what = rng.random()
        if what < 0.4:
            key = rng.choice(list(POISON))
            inside = target[place[-1]]
            holder = inside if isinstance(inside, dict) else target
            if isinstance(holder, dict):
                holder[key] = copy.deepcopy(rng.choice(POISON[key]))
        elif what < 0.8:
            target[place[-1]] = copy.deepcopy(rng.choice(VALUES))
        elif what < 0.9 or not isinstance(target, dict):
            del target[place[-1]]
        else:
            target[rng.choice(list(POISON))] = copy.deepcopy(heads)


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return a file with some damage."""
    data = bytearray(content)
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(1, 2000)] = rng.randbytes(rng.randrange(50))
    elif kind in (2, 3):
        # the first and the last bytes are the headers and the directory
        where = range(len(data)) if kind == 2 else range(len(data) - 500, len(data))
        for _ in range(rng.choice([1, 3, 20])):
            data[rng.choice(where)] ^= 1 << rng.randrange(8)
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(list(members))
        if kind == 4:
            members[name] = damage_member(members[name], rng)
        else:
            members[name] = members[rng.choice(list(members))]
        buffer = io.BytesIO()
        method = rng.choice([0, 0, 0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for key, value in members.items():
                archive.writestr(key, value)
        return buffer.getvalue()
    return bytes(data)


def damage_member(member: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a card, a checkpoint or arrays with some damage."""
    data = bytearray(member)
    for _ in range(rng.choice([1, 5, 50])):
        data[rng.randrange(min(len(data), 20_000))] = rng.randrange(256)
    return bytes(data)


def replace(members: dict[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """Return the members of a model file with another checkpoint and its card."""
    old, new = (
        hashlib.sha256(own).hexdigest().encode() for own in (members[name], content)
    )
    card = members["card.json"].replace(old, new)
    return {**members, "card.json": card, name: content}


def try_to_load(path: Path) -> str:
    """Return how loading ends: ``loaded`` or the name of the error."""
    global _watching  # an audit hook cannot be taken away
    _own.add(os.path.realpath(path))
    _watching = True
    try:
        load_model(path)
    except MftscreenError as error:
        return type(error).__name__
    except Exception as error:  # noqa: BLE001 - what this script looks for
        return f"UNTYPED {type(error).__name__}: {error}"
    finally:
        _watching = False
    return "loaded"


@click.command()
@click.option("--trees", default=1000)
@click.option("--files", default=2000)
@click.option("--seed", default=0)
@click.option("--model", type=click.Path(exists=True, path_type=Path))
def main(trees: int, files: int, seed: int, model: Path | None) -> None:
    rng = random.Random(seed)
    sys.addaudithook(watch)
    source = (model or registered_models()["mft-mini-crystals"].path).resolve()
    load_model(source)  # whatever is imported once is imported now
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    originals = {n: read_state(c) for n, c in members.items() if n.endswith(".pt")}
    os.chdir(tempfile.mkdtemp())
    Path("weights.pth").write_bytes(b"not opened")
    untyped: list[str] = []
    started = time.perf_counter()
    for kind, number in (("trees", trees), ("files", files)):
        ends: Counter[str] = Counter()
        for _ in range(number):
            path = Path("hostile.mft")
            if kind == "trees":
                name = rng.choice(list(originals))
                state = {**originals[name], "_extra_state": None}
                state["_extra_state"] = copy.deepcopy(originals[name]["_extra_state"])
                mutate_tree(model_parameters(state), rng)
                with zipfile.ZipFile(path, "w") as archive:
                    for key, own in replace(members, name, save_state(state)).items():
                        archive.writestr(key, own)
            else:
                path.write_bytes(damage(source.read_bytes(), rng))
            ends[try_to_load(path)] += 1
        print(kind, dict(ends.most_common()))
        untyped += [end for end in ends if end.startswith("UNTYPED")]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - started
    print("opened, executed or connected to:", sorted(set(watched)) or "nothing")
    print(f"seed {seed}, {seconds:.0f} s, peak memory {peak:.0f} MiB")
    if watched or untyped:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
