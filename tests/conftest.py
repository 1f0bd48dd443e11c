"""Structures and real (small, untrained) deepmd-kit checkpoints for the tests."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # one thread for each process; numpy, numba and torch look when they are imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hashlib
import io
import json
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import settings

from mftscreen.head_forms import find_form
from mftscreen.model.files.bundle import (
    ForceFieldDomain,
    ModelCard,
    PropertyHead,
    read_bundle,
    write_bundle,
)
from mftscreen.properties import PropertySpec

# the same examples in every run, however slow the machine is
settings.register_profile("mftscreen", derandomize=True, deadline=None)
settings.load_profile("mftscreen")

NOBODY = 65534


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: the last tests of a process cannot be shared out."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """Give a folder of a user who may not do everything, and be that user.

    What a test needs to import, it has to import before: an installation in root's home
    is out of sight.
    """
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


class Copy:
    """A program in a copy of the warm process, like :class:`subprocess.Popen`."""

    def __init__(
        self,
        server: socket.socket,
        program: str,
        arguments: Sequence[str],
        folder: Path,
        files: Sequence[int],
    ) -> None:
        self.returncode: int | None = None
        self._status, status = os.pipe()
        # the warm process is in another folder
        place = str(Path(folder).absolute())
        request = json.dumps([program, [*arguments], place]).encode()
        socket.send_fds(server, [request], [status, *files])
        os.close(status)
        self.pid = int(server.recv(20))

    def poll(self) -> int | None:
        return self._read(0.0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a program", timeout or 0.0)
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        if (
            self.returncode is None
            and select.select([self._status], [], [], timeout)[0]
        ):
            self.returncode = int(os.read(self._status, 20))
            os.close(self._status)
        return self.returncode


@pytest.fixture(scope="session")
def start_copy() -> Iterator[Callable[..., Copy]]:
    """Return what starts a program in a copy of a process that has imported all.

    It is given the program as ``python -c`` is, its arguments, its folder, and the
    files of its output, of its errors, and those that it is to keep open.
    """
    from mftscreen.finetune.run import launch

    servers: list[tuple[subprocess.Popen[bytes], socket.socket]] = []

    def start_copy(
        program: str, arguments: Sequence[str], folder: Path, *files: int
    ) -> Copy:
        if not servers:
            ours, theirs = socket.socketpair()
            command = [sys.executable, Path(__file__).with_name("warm_process.py")]
            environment = launch._environment(1)
            started = subprocess.Popen(command, env=environment, stdin=theirs)
            theirs.close()
            servers.append((started, ours))
        return Copy(servers[0][1], program, arguments, folder, files)

    yield start_copy
    for process, server in servers:
        server.close()
        process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser for pages that were written."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright drives the browser"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(names)} is installed")
    with playwright.sync_playwright() as driver:
        # software WebGL; root, as in a container, has no sandbox
        arguments = ["--no-sandbox", "--use-angle=swiftshader"]
        arguments.append("--enable-unsafe-swiftshader")
        running = driver.chromium.launch(executable_path=program, args=arguments)
        yield running
        running.close()


TYPE_MAP = ["H", "O", "Mg", "Si", "Ga", "As"]

REPFLOW = {
    "n_dim": 8, "e_dim": 6, "a_dim": 4, "nlayers": 2, "axis_neuron": 2,
    "e_rcut": 4.5, "e_rcut_smth": 4.0, "e_sel": 60,
    "a_rcut": 3.0, "a_rcut_smth": 2.7, "a_sel": 20, "sel_reduce_factor": 5.0,
    "fix_stat_std": 0.3, "a_compress_rate": 1, "a_compress_e_rate": 2,
    "a_compress_use_split": True, "update_angle": True, "smooth_edge_update": True,
    "edge_init_use_dist": True, "use_exp_switch": True, "use_dynamic_sel": True,
    "update_style": "res_residual", "update_residual": 0.5,
    "update_residual_init": "const",
}  # fmt: skip


def head_parameters(fitting: dict) -> dict:
    descriptor = {
        "type": "dpa3",
        "repflow": dict(REPFLOW),
        "activation_function": "silut:3.0",
        "use_tebd_bias": False,
        "precision": "float64",
        "concat_output_tebd": False,
        "seed": 1,
    }
    net = {"neuron": [8, 8], "precision": "float64", **fitting}
    return {"type_map": TYPE_MAP, "descriptor": descriptor, "fitting_net": net}


DPA4 = {
    "type": "dpa4", "sel": 60, "rcut": 4.5, "channels": 8, "n_radial": 6, "lmax": 2,
    "mmax": 1, "n_blocks": 2, "mixing_layers": 1, "ffn_so3_grid": True,
    "so3_readout": "mlp",
    "grid_branch": [1, 1, 1], "message_node_so3": True,
}  # fmt: skip
"""As in deepmd-kit's examples, but smaller."""


def dpa4_parameters(fitting: dict) -> dict:
    net = {"neuron": [8, 8], "precision": "float64", **fitting}
    if net["type"] == "ener":
        net |= {"type": "dpa4_ener", "neuron": [0]}
    descriptor = {**DPA4, "precision": "float64", "seed": 1}
    return {
        "type": "dpa4", "type_map": TYPE_MAP,
        "descriptor": descriptor, "fitting_net": net,
    }  # fmt: skip


SEVENNET = {
    "type": "sevennet", "cutoff": 4.5, "cutoff_on": 4.0, "channels": [8, 6, 4],
    "n_layers": 3, "n_basis": 5, "radial_neurons": [8], "divisor": 5.0,
    "output_layers": [1, 2], "sel": 60,
}  # fmt: skip


def sevennet_parameters(fitting: dict) -> dict:
    net = {"neuron": [8, 8], "precision": "float32", **fitting}
    descriptor = {**SEVENNET, "precision": "float32", "seed": 1}
    return {"type_map": TYPE_MAP, "descriptor": descriptor, "fitting_net": net}


HEADS = {
    "alloys": {"type": "ener", "seed": 1},
    "oxides": {"type": "ener", "seed": 2},
    "gap": {"type": "property", "property_name": "gap", "intensive": True, "seed": 3},
    "alpha": {
        "type": "property", "property_name": "alpha", "intensive": False, "seed": 4,
    },
}  # fmt: skip


def fill_zeros(module: Any) -> None:
    """Make maps random that deepmd-kit begins with as zeros; its model is no model."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        if not weight.any():
            noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            weight.data += 0.3 * noise


def build_single_task(parameters: dict) -> bytes:
    """Return a checkpoint of one task, whose head is called ``Default``."""
    import torch
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    model = get_model(parameters)
    fill_zeros(model)
    buffer = io.BytesIO()
    wrapper = ModelWrapper(model, model_params=parameters)
    torch.save({"model": wrapper.state_dict()}, buffer)
    return buffer.getvalue()


def build_checkpoint(parameters: dict[str, dict]) -> bytes:
    """Return a multi-task checkpoint with one shared descriptor, as deepmd saves it."""
    import torch
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    models = {name: get_model(head) for name, head in parameters.items()}
    first = next(iter(models.values()))
    generator = torch.Generator().manual_seed(0)
    fill_zeros(first.atomic_model.descriptor)
    for model in models.values():
        model.atomic_model.descriptor = first.atomic_model.descriptor
        bias = model.atomic_model.out_bias
        bias += torch.randn(bias.shape, generator=generator, dtype=bias.dtype)
    wrapper = ModelWrapper(models, model_params={"model_dict": parameters})
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict(), "optimizer": {}}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.pt"
    path.write_bytes(
        build_checkpoint({n: head_parameters(net) for n, net in HEADS.items()})
    )
    return path


@pytest.fixture(scope="session")
def dpa4_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "dpa4.pt"
    path.write_bytes(
        build_checkpoint({n: dpa4_parameters(net) for n, net in HEADS.items()})
    )
    return path


BACKBONE_BRANCHES = {
    "Domains_Alloy": [],
    "Omat24": ["Default", "Materials"],
    "SPICE2": ["Drug"],
    "OC22": [],
}
"""Head and aliases."""


def build_backbone(**descriptor: object) -> bytes:
    """Return a checkpoint in the layout of DPA-3.1-3M, made by deepmd-kit.

    One descriptor and one fitting net serve all heads, and only a one-hot (Eq. 1)
    tells the fitting net which of them it is.
    """
    import torch
    from deepmd.pt.train.training import get_model_for_wrapper
    from deepmd.pt.train.wrapper import ModelWrapper
    from deepmd.pt.utils.multi_task import preprocess_shared_params

    single = head_parameters({
        "type": "ener", "seed": 1, "precision": "float32",
        "dim_case_embd": len(BACKBONE_BRANCHES),
    })  # fmt: skip
    shared = {
        "types": single["type_map"],
        "descriptor": {**single["descriptor"], "precision": "float32", **descriptor},
        "fitting": single["fitting_net"],
    }
    heads = {
        name: {
            "type_map": "types", "descriptor": "descriptor", "fitting_net": "fitting",
            "model_branch_alias": aliases,
        }
        for name, aliases in BACKBONE_BRANCHES.items()
    }  # fmt: skip
    parameters, links = preprocess_shared_params(
        {"shared_dict": shared, "model_dict": heads}
    )
    wrapper = ModelWrapper(get_model_for_wrapper(parameters), model_params=parameters)
    wrapper.share_params(links, dict.fromkeys(heads, 1.0), resume=True)
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def backbone() -> bytes:
    return build_backbone()


@dataclass
class Publisher:
    """A web server on this machine that a large pretrained model is published on.

    Attributes
    ----------
    name, path : str, Path
        Of the model, and where it is to be kept.
    content : bytes
        What is right.
    answers : list of callable
        One for each request, given the connection; after these, the content.
    """

    name: str
    path: Path
    content: bytes
    urls: list[str] = field(default_factory=list)
    answers: list[Callable[[BaseHTTPRequestHandler], None]] = field(
        default_factory=list
    )
    requests: int = 0

    def send(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        """Answer with some content, of which it announces the right length."""
        request.send_response(200)
        request.send_header("Content-Length", str(len(self.content)))
        request.end_headers()
        request.wfile.write(content)


@pytest.fixture
def publisher(
    backbone: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Publisher]:
    """Publish a small DPA-3.1-3M, and let deepmd-kit's registry lead to it."""
    from deepmd.pretrained.registry import MODEL_REGISTRY

    name = "DPA-3.1-3M"
    published = Publisher(name, tmp_path / "kept" / f"{name}.pt", backbone)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.requests += 1
            if published.answers:
                published.answers.pop(0)(self)
            else:
                published.send(self, published.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        published.urls = [f"{address}/first.pt", f"{address}/second.pt"]
        record = {
            "urls": published.urls,
            "filename": published.path.name,
            "sha256": hashlib.sha256(backbone).hexdigest(),
        }
        monkeypatch.setitem(MODEL_REGISTRY, name, record)
        monkeypatch.setenv("MFTSCREEN_MODELS", str(published.path.parent))
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(variable, "127.0.0.1")
        # what urllib keeps once it has read the proxies
        monkeypatch.setattr("urllib.request._opener", None)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield published
        server.shutdown()


@pytest.fixture
def single_task_checkpoint() -> bytes:
    return build_single_task(head_parameters(HEADS["gap"]))


@pytest.fixture(scope="session")
def sevennet_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import mftscreen.model.plugins  # noqa: F401 - registers it with deepmd-kit

    path = tmp_path_factory.mktemp("models") / "sevennet.pt"
    parameters = sevennet_parameters({"type": "ener", "seed": 1, "neuron": []})
    info = {"name": "7net-small", "licence": "MIT", "citation": "somebody"}
    path.write_bytes(build_single_task({**parameters, "info": info}))
    return path


@pytest.fixture(scope="session")
def build_dpa4_head() -> Callable[[dict[str, Any]], bytes]:
    """Return what makes a checkpoint with one head on DPA4, of any type."""

    def build_dpa4_head(fitting: dict[str, Any]) -> bytes:
        parameters = dpa4_parameters(fitting)
        form = find_form(fitting)
        if form is not None and not form.atomic:
            parameters["type"] = form.model
        return build_single_task(parameters)

    return build_dpa4_head


@pytest.fixture(scope="session")
def build_dpa4() -> Callable[..., bytes]:
    """Return what makes a checkpoint in the layout of published DPA4 models."""

    def build_dpa4(**descriptor: object) -> bytes:
        parameters = dpa4_parameters({"type": "ener", "seed": 1})
        parameters["descriptor"] |= {"precision": "float32", **descriptor}
        parameters["fitting_net"]["precision"] = "float32"
        return build_single_task({**parameters, "use_compile": True})

    return build_dpa4


@pytest.fixture(scope="session")
def tiny_model(checkpoint: Path) -> Path:
    """A model file whose reference set is a handful of crystals."""
    from mftscreen.ood.reference.reference_set import fit_reference

    path = checkpoint.with_name("tiny.mft")
    crystals = [bulk("MgO", "rocksalt", a=4.0 + 0.02 * k) for k in range(20)]
    head = PropertyHead(
        spec=PropertySpec(name="gap", label="band gap", unit="eV"),
        head="gap",
        elements=["O", "Mg"],
        n_train=20,
        train_range=(0.0, 1.0),
        training_set="made up",
        training_hash="0",
    )
    card = ModelCard(
        name="tiny", strategy="mft", energy_head="oxides", properties={"gap": head}
    )
    reference = fit_reference(zip(map(str, range(20)), crystals, strict=True))[
        0
    ].to_arrays()
    write_bundle(path, card, checkpoint.read_bytes(), reference)
    return path


@pytest.fixture(scope="session")
def bulk_model(tiny_model: Path) -> Path:
    """The same model, which says that its heads are for crystals of MgO."""
    from mftscreen.domain import HeadDomain

    path = tiny_model.with_name("bulk.mft")
    bundle = read_bundle(tiny_model)
    domain = HeadDomain(kinds=("crystals",))
    head = bundle.card.properties["gap"].model_copy(update={"domain": domain})
    seen = ForceFieldDomain(elements=["O", "Mg"], domain=domain)
    card = bundle.card.model_copy(
        update={"properties": {"gap": head}, "force_field_domains": {"oxides": seen}}
    )
    write_bundle(path, card, bundle.checkpoint, bundle.reference)
    return path


@pytest.fixture
def mixed_structures() -> list[Atoms]:
    """Structures of different composition, size and periodicity."""
    slab = bulk("Si", cubic=True)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = (True, True, False)
    return [
        bulk("MgO", "rocksalt", a=4.21),
        molecule("H2O"),
        bulk("Si", cubic=True),
        bulk("GaAs", "zincblende", a=5.65),
        Atoms("O"),
        slab,
    ]
