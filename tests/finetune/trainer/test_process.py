"""The process that trains: joint steps, weights, restarts. Real, tiny trainings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write
from click.testing import CliRunner
from deepmd.dpmodel.utils import stat
from deepmd.pt.optimizer import hybrid_muon
from deepmd.pt.train import training
from deepmd.pt.utils import env
from deepmd.utils.data import DeepmdData

from mftscreen import writing
from mftscreen.cli import main
from mftscreen.errors import TrainingError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.launch import LOCK
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.run.select import checkpoints, is_readable
from mftscreen.finetune.trainer import process
from mftscreen.finetune.trainer.balance import COMBINATION, Combination, balanced_lambda
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork

# deepmd-kit's data loader in this process
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument")

AUXILIARY = {"head": "first", "data": ["crystals.extxyz"], "batch_size": 16}
ALTERNATE = {**AUXILIARY, "aux_prob": 0.25, "lambda_reg": "auto"}
LONG = {"steps": 60, "save_every": 15, "batch_size": 16}


@pytest.fixture(scope="module")
def joint_run(tune: Callable[..., Path], pretrained: Path) -> Path:
    auxiliary = {**AUXILIARY, "combine": "joint", "lambda_reg": 0.5}
    path = tune("joint", "mft", pretrained=str(pretrained), auxiliary=auxiliary)
    return path.parent


TWO = {
    "softness": {"label": "softness", "neurons": [8, 8]},
    "size": {"column": "softness", "head": "extensive", "neurons": [8]},
}


@pytest.fixture(scope="module")
def shared_run(tune: Callable[..., Path], pretrained: Path) -> Path:
    settings = {"properties": TWO, "auxiliary": ALTERNATE, "training": LONG}
    return tune("shared", "mft", pretrained=str(pretrained), **settings).parent


@pytest.mark.slow
def test_the_database_of_elements_is_not_imported(
    start_copy: Callable[..., Any], tmp_path: Path
) -> None:
    program = "import sys; sys.exit('mendeleev' in sys.modules)"
    assert start_copy(program, [], tmp_path, 1, 2).wait() == 0


@contextmanager
def _trainer(run: Path, combination: Combination, folder: Path) -> Iterator[Any]:
    """Yield the trainer of a finished run, at its first step."""
    built: list[Any] = []
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("model*", "*.jsonl"))
    (folder / COMBINATION).write_text(combination.to_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(training, "NUM_WORKERS", 0)
        # training sets it for good, and models built after that cannot be scripted
        patch.setattr(env, "CUSTOM_OP_USE_JIT", env.CUSTOM_OP_USE_JIT)
        # what ``main`` replaces is restored afterwards
        orthogonalize = hybrid_muon._batched_newton_schulz_orth
        patch.setattr(hybrid_muon, "_batched_newton_schulz_orth", orthogonalize)
        patch.setattr(stat, "collect_observed_types", stat.collect_observed_types)
        create = staticmethod(DeepmdData._create_memmap)
        patch.setattr(DeepmdData, "_create_memmap", create)
        patch.setattr(training, "Trainer", process.Trainer)
        patch.setattr(process.Trainer, "run", lambda self: built.append(self))
        process.main(
            ["input.json", "--skip-neighbor-stat", "--finetune", "pretrained.pt"]
        )
        built[0].wrapper.train()
        yield built[0]


def _gradients(trainer: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    trainer.wrapper.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {
        name: parameter.grad.clone()
        for name, parameter in trainer.wrapper.named_parameters()
        if parameter.grad is not None
    }


def _step_loss(trainer: Any, head: str) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the loss of one step as deepmd-kit sees it, and its batches by head."""
    batch = trainer._next_training_batch(head)
    inputs, labels, _ = batch
    _, loss, _ = trainer.wrapper(
        **inputs, cur_lr=1e-3, label=dict(labels), task_key=head
    )
    return loss, {head: batch, **trainer._joined}


JOINT = Combination(["first"], "joint", lambda_reg={"first": 0.5})


@pytest.mark.slow
def test_joint_gradient_is_the_sum_of_both(joint_run: Path, tmp_path: Path) -> None:
    with _trainer(joint_run, JOINT, tmp_path / "run") as trainer:
        loss, batches = _step_loss(trainer, "softness")
        assert set(batches) == {"softness", "first"}
        joint = _gradients(trainer, loss)
        single = {
            head: _gradients(trainer, trainer._loss(head, batch, 1e-3))
            for head, batch in batches.items()
        }
    shared = [name for name in joint if ".descriptor.repflows" in name]
    assert shared
    for name in shared:
        both = single["softness"][name] + single["first"][name]
        torch.testing.assert_close(joint[name], both, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(joint[name], single["softness"][name])
    for name in joint.keys() - set(shared):
        parts = [part[name] for part in single.values() if name in part]
        torch.testing.assert_close(joint[name], sum(parts), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_lambda_of_zero_gives_the_gradients_of_ft(
    joint_run: Path, tmp_path: Path, pretrained: Path, write_config: Callable[..., Path]
) -> None:
    from mftscreen.finetune.task.deepmd_input import _force_field_loss

    document = json.loads((joint_run / "input.json").read_text())
    zero = _force_field_loss(
        load_config(joint_run.with_suffix(".yaml")).auxiliary.loss, 0.0
    )
    document["loss_dict"]["first"] = zero
    shutil.copytree(joint_run, tmp_path / "zero")
    (tmp_path / "zero" / "input.json").write_text(json.dumps(document))
    combination = replace(JOINT, lambda_reg={"first": 0.0})
    with _trainer(tmp_path / "zero", combination, tmp_path / "run") as trainer:
        loss, batches = _step_loss(trainer, "softness")
        joint = _gradients(trainer, loss)
        # Eq. 9: the property's loss alone
        alone = _gradients(
            trainer, trainer._loss("softness", batches["softness"], 1e-3)
        )
    assert any(".descriptor." in name for name in alone)
    for name, gradient in alone.items():
        assert torch.equal(joint[name], gradient)
    assert all(not joint[name].any() for name in joint.keys() - alone.keys())


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["joint", "alternate"])
def test_auto_lambda_balances_on_a_fixed_batch(
    joint_run: Path, tmp_path: Path, combine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    combination = Combination(["first"], combine, {"first": 0.2}, {"first": "auto"})
    with _trainer(joint_run, combination, tmp_path / "run") as trainer:
        fixed = trainer._draw(trainer.model_keys)
        monkeypatch.setattr(
            type(trainer).__mro__[1], "_next_training_batch", lambda _, h: fixed[h]
        )
        before = {name: p.clone() for name, p in trainer.wrapper.named_parameters()}
        weight = trainer._measured_lambdas()["first"]
        for name, parameter in trainer.wrapper.named_parameters():
            assert torch.equal(parameter, before[name])
        # after the head has been fitted for a moment
        with trainer._settled_heads(
            [{"softness": fixed["softness"]}] * process.N_SETTLE
        ):
            norms = {
                head: trainer._gradient_norm(trainer._loss(head, batch, 1e-3))
                for head, batch in fixed.items()
            }
        at_first = trainer._gradient_norm(trainer._sum({"softness": fixed["softness"]}))
        # measured once per run
        monkeypatch.setattr(trainer, "_gradient_norm", lambda _: pytest.fail("again"))
        assert trainer._measured_lambdas() == {"first": weight}
    share = {"joint": 1.0, "alternate": 0.8 / 0.2}[combine]
    assert norms["softness"] != at_first
    assert weight * norms["first"] == pytest.approx(share * norms["softness"], rel=1e-3)


@pytest.mark.slow
def test_properties_of_the_same_rows_are_trained_on_the_same_batches(
    shared_run: Path, tmp_path: Path
) -> None:
    document = json.loads((shared_run / "input.json").read_text())
    assert document["training"]["model_prob"] == {
        "first": 0.25,
        "size": 0.75,
        "softness": 0.0,
    }
    data = document["training"]["data_dict"]
    assert data["size"] == data["softness"]
    combination = Combination.read(shared_run)
    passes: list[Any] = []
    with _trainer(shared_run, combination, tmp_path / "run") as trainer:
        for head in TWO:
            descriptor = trainer.wrapper.model[head].get_descriptor()
            descriptor.repflows.register_forward_hook(lambda *_: passes.append(1))
        loss, batches = _step_loss(trainer, "size")
        assert len(passes) == 1
        both = _gradients(trainer, loss)
        single = [
            _gradients(trainer, trainer._loss(head, batches["size"], 1e-3))
            for head in TWO
        ]
        assert len(passes) == 3
        loss, batches = _step_loss(trainer, "first")
        alone = trainer._loss("first", batches["first"], 1e-3)
        assert torch.equal(loss, alone)
    assert any(".descriptor." in name for name in both)
    for name, gradient in both.items():
        parts = [part[name] for part in single if name in part]
        torch.testing.assert_close(gradient, sum(parts) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_joint_step_has_the_sum_of_all_losses_of_shared_batches(
    shared_run: Path, tmp_path: Path
) -> None:
    combination = replace(JOINT, shared=Combination.read(shared_run).shared)
    with _trainer(shared_run, combination, tmp_path / "run") as trainer:
        loss, batches = _step_loss(trainer, "size")
        assert set(batches) == {"size", "first"}
        parts = [
            *(trainer._loss(head, batches["size"], 1e-3) for head in TWO),
            trainer._loss("first", batches["first"], 1e-3),
        ]
        torch.testing.assert_close(loss, torch.stack(parts).sum())
        batches = {"size": batches["size"]}
        torch.testing.assert_close(trainer._sum(batches), sum(parts[:2]))


@pytest.mark.slow
def test_steps_alternate_in_the_share_asked_for(shared_run: Path) -> None:
    training = read_bundle(shared_run / "model.mft").card.provenance
    batches = training["batches"]
    # those of the same rows count once
    assert batches["softness"] == batches["size"] == LONG["steps"] - batches["first"]
    assert training["aux_share"] == batches["first"] / LONG["steps"]
    # four standard deviations of 60 draws
    assert training["aux_share"] == pytest.approx(0.25, abs=0.22)
    assert training["aux_prob"] == 0.25
    measured = json.loads((shared_run / "lambda_reg.json").read_text())
    assert training["lambda_reg"] == measured["lambda_reg"]["first"]
    assert training["lambda_reg"] == balanced_lambda(
        measured["downstream"],
        measured["auxiliary"]["first"],
        # two properties have 0.75 of the steps
        batches=0.75 / (2 * 0.25),
    )


@pytest.mark.slow
def test_joint_run_is_summarised_on_the_card(joint_run: Path) -> None:
    training = read_bundle(joint_run / "model.mft").card.provenance
    assert training["batches"] == {"softness": 6, "first": 6}
    assert training["aux_share"] == 0.5
    assert training["lambda_reg"] == 0.5
    assert training["combine"] == "joint"
    assert "aux_prob" not in training
    assert training["gradient_ratio"] > 0


@pytest.mark.slow
def test_muon_goes_on_as_if_nothing_had_happened(
    folder: Path, pretrained: Path, write_config: Callable[..., Path]
) -> None:
    training = {"steps": 8, "save_every": 4, "batch_size": 16, "optimizer": "muon"}
    settings = {
        "properties": TWO,
        "training": {**training, "layer_decay": 0.8},
        "auxiliary": {**ALTERNATE, "lambda_reg": 0.5},
    }
    config = write_config("muon", "mft", pretrained=str(pretrained), **settings)
    run_training(load_config(config), folder / "muon", threads=1)
    whole = checkpoints(folder / "muon")
    last = read_state(whole[8])
    assert "HybridMuon" in (folder / "muon" / "out.json").read_text()
    for path in (whole[8], folder / "muon" / "model.mft"):
        path.unlink()
    run_training(load_config(config), folder / "muon", resume=True, threads=1)
    again = read_state(whole[8])
    assert all(torch.equal(last[k], again[k]) for k in last if torch.is_tensor(last[k]))


@pytest.mark.slow
def test_lower_layers_learn_more_slowly(joint_run: Path, tmp_path: Path) -> None:
    combination = replace(JOINT, layer_decay=0.5)
    with _trainer(joint_run, combination, tmp_path / "run") as trainer:
        groups = trainer.optimizer.param_groups
        named = list(trainer.wrapper.named_parameters())
        group_of = {id(p): k for k, group in enumerate(groups) for p in group["params"]}
        assert len(group_of) == len(named)
        places = {
            ".fitting_net.": 0,
            ".repflows.layers.1.": 1,
            ".repflows.layers.0.": 2,
            ".repflows.edge_embd.": 3,
            ".type_embedding.": 3,
        }
        for place, expected in places.items():
            found = {group_of[id(p)] for name, p in named if place in name}
            assert found == {expected}
        for _ in range(2):
            rates = [group["lr"] for group in groups]
            assert rates == pytest.approx([rates[0] * 0.5**k for k in range(4)])
            trainer.optimizer.step()
            trainer.scheduler.step()


@pytest.mark.slow
def test_dipole_is_trained_as_it_is_predicted(
    folder: Path, tune: Callable[..., Path], pretrained: Path, tmp_path: Path
) -> None:
    """Its vectors are made of the last layer's edges, which other heads do not read."""
    rng = np.random.default_rng(0)
    molecules = [
        Atoms("OSi2", rng.normal(size=(3, 3)), info={"mu": 1.0 + k}) for k in range(4)
    ]
    write(folder / "molecules.extxyz", molecules)
    path = tune(
        "dipole",
        "ft",
        pretrained=str(pretrained),
        properties={"mu": {"label": "dipole moment", "head": "dipole_norm"}},
        data={"train": ["molecules.extxyz"]},
        training={"steps": 1, "save_every": 1},
    )
    with _trainer(path.parent, Combination(), tmp_path / "run") as trainer:
        loss, batches = _step_loss(trainer, "mu")
        last_layer = [n for n in _gradients(trainer, loss) if ".layers.1." in n]
        assert any("edge_self_linear" in name for name in last_layer)
        inputs, _, _ = batches["mu"]
        model = trainer._get_inner_module().model["mu"]
        trained = model(inputs["coord"], inputs["atype"], inputs["box"])["mu"]
        network = DeepmdNetwork({**trainer.wrapper.state_dict()})
        symbols = np.array(network.type_map)[inputs["atype"].cpu().numpy()]
        positions = inputs["coord"].detach().cpu().numpy().reshape(len(symbols), -1, 3)
    structures = [Atoms(s, p) for s, p in zip(symbols, positions, strict=True)]
    predicted = network.evaluate(structures, property_heads=["mu"])
    assert trained[:, 0].tolist() == pytest.approx(
        [p.heads["mu"].item() for p in predicted], rel=1e-5
    )


@pytest.mark.slow
def test_loss_of_zero_stops_the_run(
    tune: Callable[..., Path], pretrained: Path
) -> None:
    nothing = {"energy": [0, 0], "force": [0, 0], "virial": [0, 0]}
    with pytest.raises(TrainingError, match="the loss of head 'first' is 0 at step 1"):
        tune(
            "zero-loss",
            "mft",
            pretrained=str(pretrained),
            auxiliary={**AUXILIARY, "combine": "joint", "loss": nothing},
        )


@pytest.mark.slow
def test_loss_that_is_not_finite_stops_the_run(tune: Callable[..., Path]) -> None:
    training = {"steps": 2000, "save_every": 1000, "batch_size": 16}
    with pytest.raises(TrainingError, match="the loss is not finite"):
        tune(
            "diverges", "scratch", training={**training, "learning_rate": [1e30, 1e29]}
        )


@pytest.mark.slow
def test_run_stops_when_it_gets_no_better(tune: Callable[..., Path]) -> None:
    training = {"steps": 20000, "save_every": 5, "batch_size": 16, "patience": 2}
    path = tune(
        # steps too small for the weights' precision
        "patience",
        "scratch",
        training={**training, "learning_rate": [1e-12, 1e-13]},
    )
    card = read_bundle(path).card
    assert card.provenance["step"] == 5
    assert 15 <= card.provenance["last_step"] < 20000
    log = (path.parent / "train.log").read_text()
    assert "Start to train 20000 steps" in log
    # a run that has stopped by itself is not taken up again
    config = load_config(path.parent.with_suffix(".yaml"))
    run_training(config, path.parent, resume=True, threads=1)
    assert (path.parent / "train.log").read_text() == log


@pytest.mark.slow
def test_average_of_the_weights_is_what_ships(tune: Callable[..., Path]) -> None:
    training = {"steps": 6, "save_every": 3, "batch_size": 16, "ema": 0.9}
    path = tune("ema", "scratch", training=training)
    step = read_bundle(path).card.provenance["step"]
    shipped = read_state(read_bundle(path).checkpoint)
    averaged = read_state(path.parent / f"model_ema.ckpt-{step}.pt")
    last = read_state(path.parent / f"model.ckpt-{step}.pt")
    tensors = [key for key, value in shipped.items() if torch.is_tensor(value)]
    assert all(torch.equal(shipped[key], averaged[key]) for key in tensors)
    assert not all(torch.equal(shipped[key], last[key]) for key in tensors)


@pytest.mark.slow
def test_killed_run_becomes_what_it_would_have_been(
    folder: Path,
    shared_run: Path,
    pretrained: Path,
    write_config: Callable[..., Path],
    start_copy: Callable[..., Any],
) -> None:
    settings = {"properties": TWO, "auxiliary": ALTERNATE, "training": LONG}
    config = write_config("killed", "mft", pretrained=str(pretrained), **settings)
    arguments = ["finetune", str(config), "-o", str(folder / "killed")]
    with (folder / "killed.log").open("w") as log:
        program = "from mftscreen.cli import main; main()"
        files = log.fileno(), log.fileno()
        tuning = start_copy(program, [*arguments, "--threads", "1"], folder, *files)
    try:
        _wait_for_checkpoint(folder / "killed")
    finally:
        for pid in _descendants(tuning.pid):
            os.kill(pid, signal.SIGKILL)
    assert tuning.wait() == -signal.SIGKILL
    last = max(_saved(folder / "killed"))
    assert last < LONG["steps"], "the run was over before it could be killed"
    run_training(load_config(config), folder / "killed", resume=True, threads=1)
    log = (folder / "killed" / "train.log").read_text()
    assert f"Resuming from model.ckpt-{last}.pt" in log
    runs = [shared_run, folder / "killed"]
    states = [read_state(run / f"model.ckpt-{LONG['steps']}.pt") for run in runs]
    for key, value in states[0].items():
        if torch.is_tensor(value):
            assert torch.equal(value, states[1][key]), key
    cards = [read_bundle(run / "model.mft").card for run in runs]
    assert cards[0].properties == cards[1].properties
    assert cards[0].provenance["batches"] == cards[1].provenance["batches"]


@pytest.mark.slow
def test_disk_that_is_full_leaves_the_last_checkpoint(
    folder: Path, write_config: Callable[..., Path]
) -> None:
    import resource

    config = write_config("full", "scratch", training={**LONG, "steps": 400})
    run = folder / "full"

    def fill() -> None:
        _wait_for_checkpoint(run)
        # nothing that is longer can be written, as on a disk that is almost full
        trainer = int((run / LOCK).read_text())
        resource.prlimit(trainer, resource.RLIMIT_FSIZE, (60_000, 60_000))

    with ThreadPoolExecutor(1) as pool:
        filled = pool.submit(fill)
        arguments = ["finetune", str(config), "-o", str(run), "--threads", "1"]
        done = CliRunner().invoke(main, arguments)
        filled.result()
    assert done.exit_code == 1
    assert "could not be written in" in done.stderr
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr
    kept = checkpoints(run)
    assert all(is_readable(path) for path in kept.values())
    assert read_state(kept[max(kept)])


@pytest.mark.slow
def test_file_that_cannot_be_written_is_a_training_error(
    folder: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config("device", "scratch")
    Path(folder / "device").mkdir()
    full = folder / "device" / ".partial.config.yaml"
    full.symlink_to("/dev/full")
    beside = lambda path, name: path.with_name(f".partial.{name}")  # noqa: E731
    monkeypatch.setattr(writing, "_beside", beside)
    with pytest.raises(TrainingError, match=r"cannot write in .*: No space left"):
        run_training(load_config(config), folder / "device")


def _wait_for_checkpoint(directory: Path) -> None:
    deadline = time.monotonic() + 120
    while not _saved(directory) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _saved(directory), "no checkpoint in time"


def _saved(directory: Path) -> list[int]:
    """Return the steps of the checkpoints that were written to their end."""
    found = checkpoints(directory)
    return [step for step, path in found.items() if is_readable(path)]


def _descendants(pid: int) -> list[int]:
    """Return a process and all below it, children first."""
    below = [
        child
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in map(int, task.read_text().split())
    ]
    return [*(p for child in below for p in _descendants(child)), pid]
