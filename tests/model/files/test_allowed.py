"""What a model file may say to deepmd-kit, and what it may not."""

import copy
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mftscreen.errors import ModelFileError
from mftscreen.model.files.allowed import check_parameters, check_plain
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state
from mftscreen.model.files.registry import registered_models
from mftscreen.model.loading import load_model, load_state


@pytest.fixture(scope="module")
def heads(checkpoint: Path) -> dict[str, Any]:
    return model_parameters(read_state(checkpoint))


@pytest.mark.parametrize("name", registered_models())
def test_shipped_models_are_allowed(name: str) -> None:
    state, _ = load_state(name)
    check_plain(state["_extra_state"])
    for head in model_parameters(state):
        assert load_model(name).network.heads[head].name == head


FORBIDDEN: dict[str, tuple[list[str], Any]] = {
    "TorchScript from a path": (["type"], "frozen"),
    "path of TorchScript": (["model_file"], "weights.pth"),
    "table from a path": (["use_srtab"], "/etc/passwd"),
    "table from an address": (["use_srtab"], "http://127.0.0.1:1/x"),
    "pair table": (["type"], "pairtab"),
    "models in a model": (["models"], [{"type": "frozen", "model_file": "x"}]),
    "linear model": (["type"], "linear_ener"),
    "spin": (["spin"], {"use_spin": [True]}),
    "modifier": (["modifier"], {"type": "dipole_charge", "model_name": "x.pth"}),
    "compression": (["compress"], {"model_file": "x.pth"}),
    "type embedding": (["type_embedding"], {"neuron": [8]}),
    "bridging": (["bridging_method"], "zbl"),
    "hessian": (["hessian_mode"], True),
    "unknown key": (["colour"], 1),
    "type that is no text": (["type"], ["standard"]),
    "molecular model": (["type"], "molecular_property"),
    "descriptor of another kind": (["descriptor", "type"], "hybrid"),
    "descriptor without a kind": (["descriptor", "type"], None),
    "descriptor's unknown key": (["descriptor", "file"], "x"),
    "unknown activation": (["descriptor", "activation_function"], "os.system"),
    "number for an activation": (["descriptor", "activation_function"], 5),
    "unknown precision": (["descriptor", "precision"], "float128"),
    "layers without end": (["descriptor", "repflow", "nlayers"], 10**9),
    "no layers": (["descriptor", "repflow", "nlayers"], 0),
    "negative width": (["descriptor", "repflow", "n_dim"], -1),
    "wide": (["descriptor", "repflow", "n_dim"], 60_000),
    "number as text": (["descriptor", "repflow", "n_dim"], "8"),
    "truth for a number": (["descriptor", "repflow", "n_dim"], True),
    "neighbours without end": (["descriptor", "repflow", "e_sel"], 10**9),
    "infinite cutoff": (["descriptor", "repflow", "e_rcut"], float("inf")),
    "cutoff that is no number": (["descriptor", "repflow", "e_rcut"], float("nan")),
    "negative cutoff": (["descriptor", "repflow", "e_rcut"], -1.0),
    "cutoff inside the switch": (["descriptor", "repflow", "e_rcut"], 0.5),
    "angles beyond edges": (["descriptor", "repflow", "a_rcut"], 40.0),
    "unknown style": (["descriptor", "repflow", "update_style"], "res"),
    "fitting net of another kind": (["fitting_net", "type"], "dipole"),
    "net with a path": (["fitting_net", "file"], "/etc/passwd"),
    "wide net": (["fitting_net", "neuron"], [60_000, 60_000]),
    "deep net": (["fitting_net", "neuron"], [1] * 1000),
    "many outputs": (["fitting_net", "task_dim"], 60_000),
    "many parameters": (["fitting_net", "numb_fparam"], 10**6),
    "bogus element": (["type_map", "0"], "Xx"),
    "dummy element": (["type_map", "0"], "X"),
    "element twice": (["type_map", "0"], "Si"),
    "elements as text": (["type_map"], "HHe"),
    "no head": ([], {}),
    "list for a head": ([], []),
}


@pytest.fixture(params=FORBIDDEN)
def forbidden(request: pytest.FixtureRequest, checkpoint: Path) -> dict[str, Any]:
    """Return the state of a checkpoint that says what it must not."""
    places, value = FORBIDDEN[request.param]
    state = read_state(checkpoint)
    state["_extra_state"] = copy.deepcopy(state["_extra_state"])
    target: Any = model_parameters(state)
    for place in ["gap", *places][:-1]:
        target = target[int(place) if place.isdigit() else place]
    last = ["gap", *places][-1]
    target[int(last) if last.isdigit() else last] = value
    return state


def test_forbidden_parameters_are_refused_before_deepmd_sees_them(
    forbidden: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reach(*_: object) -> None:
        msg = "deepmd-kit was asked"
        raise AssertionError(msg)

    monkeypatch.setattr("deepmd.pt.model.model.get_model", reach)
    path = tmp_path / "hostile.pt"
    path.write_bytes(save_state(forbidden))
    with pytest.raises(ModelFileError, match=r"hostile\.pt is not a deepmd-kit model"):
        load_model(path, energy_head="oxides")


def test_size_must_be_backed_by_weights(heads: dict[str, Any]) -> None:
    check_parameters(heads, dict.fromkeys(heads, 10**6))
    with pytest.raises(ModelFileError, match=r"at least \d+ bytes, and there are 100"):
        check_parameters(heads, dict.fromkeys(heads, 100))


def test_too_many_heads(heads: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="1 to 200 heads"):
        check_parameters({f"h{k}": heads["gap"] for k in range(201)})


def billion_laughs() -> Any:
    tree: Any = ["ha"]
    for _ in range(15):
        tree = [tree] * 10
    return tree


def itself() -> Any:
    tree: list[Any] = []
    tree.append(tree)
    return tree


@pytest.mark.parametrize(
    "tree",
    [
        billion_laughs, itself, lambda: 2**64, lambda: "x" * 20_000, lambda: {1: 2},
        lambda: {"a": object()}, lambda: torch.zeros(1), lambda: b"bytes",
        lambda: [0] * 300_000,
    ],
)  # fmt: skip
def test_trees_that_are_not_plain(tree: Callable[[], Any]) -> None:
    with pytest.raises(ModelFileError):
        check_plain({"model_params": {"info": tree()}})


def load(content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save({"model": content}, buffer)
    read_state(buffer.getvalue())


def test_large_tensor_of_few_numbers(checkpoint: Path) -> None:
    state = read_state(checkpoint)
    state["model.gap.x"] = torch.zeros(1).expand(10**9)
    with pytest.raises(ModelFileError, match="more elements than numbers"):
        load(state)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_sparse_tensor(checkpoint: Path) -> None:
    state = read_state(checkpoint)
    state["model.gap.x"] = torch.sparse_coo_tensor([[0]], [1.0], (10**12,))
    with pytest.raises(ModelFileError, match="is not a dense tensor"):
        load(state)


@pytest.mark.filterwarnings(
    "ignore:.*prototype stage:UserWarning", "ignore:TypedStorage"
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        lambda: torch.ones(3, dtype=torch.complex64),
    ],
    ids=["nested", "quantised", "complex"],
)
def test_tensors_that_no_network_has(
    checkpoint: Path, make: Callable[[], torch.Tensor]
) -> None:
    state = read_state(checkpoint)
    state["model.gap.x"] = make()
    with pytest.raises(ModelFileError, match="is not a dense tensor of real numbers"):
        load(state)


def rewritten(
    content: bytes,
    change: Callable[[bytes], bytes] = bytes,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return a checkpoint with another pickle in it."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(buffer, "w", compression) as other,
    ):
        for name in archive.namelist():
            member = archive.read(name)
            other.writestr(name, change(member) if name.endswith(".pkl") else member)
    return buffer.getvalue()


def test_storage_that_reaches_beyond_its_record(checkpoint: Path) -> None:
    """Torch 2.11 compares the sizes itself; read on, it would leave the file."""
    state = {**read_state(checkpoint), "model.gap.x": torch.arange(12_345.0)}
    content = save_state(state)
    read_state(rewritten(content))
    number, larger = (b"M" + n.to_bytes(2, "little") for n in (12_345, 54_321))
    with pytest.raises(ModelFileError, match="record size"):
        read_state(rewritten(content, lambda pickled: pickled.replace(number, larger)))


def test_compressed_checkpoint(checkpoint: Path) -> None:
    content = rewritten(checkpoint.read_bytes(), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match="is compressed"):
        read_state(content)


NO_WEIGHTS = {
    "first layer of the net": ([], {"fitting_net": {"neuron": [4096]}}),
    "inputs of the net": ([], {"fitting_net": {"numb_fparam": 1024, "neuron": [999]}}),
    "outputs of the net": ([], {"fitting_net": {"neuron": [], "task_dim": 65_000}}),
    "statistics": (["repflow"], {"e_sel": 20_000}),
}


@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_nothing_large_is_built_without_its_weights(
    checkpoint: Path, name: str
) -> None:
    places, change = NO_WEIGHTS[name]
    state = read_state(checkpoint)
    state["_extra_state"] = copy.deepcopy(state["_extra_state"])
    head = model_parameters(state)["gap"]
    if places:
        head["descriptor"]["repflow"].update(change)
    else:
        head["fitting_net"].update(change["fitting_net"])
    with pytest.raises(ModelFileError, match="bytes, and there are"):
        load(state)


def test_a_tensor_counts_once(checkpoint: Path) -> None:
    state = read_state(checkpoint)
    state["_extra_state"] = copy.deepcopy(state["_extra_state"])
    model_parameters(state)["gap"]["fitting_net"]["neuron"] = [20_000]
    large = torch.zeros(100_000, dtype=torch.uint8)
    state |= {f"model.gap.copy{k}": large for k in range(100)}
    with pytest.raises(ModelFileError, match="bytes, and there are"):
        load(state)


def test_heads_that_share_a_tensor_are_not_too_many(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mftscreen.model.files.reading.MAX_COPIES", 2)
    with pytest.raises(ModelFileError, match="4 heads take"):
        read_state(checkpoint)
