"""Mistakes found in published training code, each a test that fails on it; the number is the trap's."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

import polyvae as pv
from polyvae.data import Data, Split, load, wrap
from polyvae.evaluate import both_bounds
from polyvae.loop import Loop
from polyvae.meter import Meter
from polyvae.objectives import Linear
from polyvae.recipes import RECIPES, Recipe
from polyvae.settings import PRECISIONS, Settings
from polyvae.store import STATE, WEIGHTS, read_tensors
from polyvae.terms import KL, Reconstruction

TIMINGS = {"seconds", "examples_per_second"}


def pictures(count: int = 40, side: int = 4) -> Data:
    x = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    return wrap((x, torch.arange(count) % 3), validation=0.2)


def small(name: str = "vae", side: int = 4, **options: Any) -> Recipe:
    spec = pv.Spec((1, side, side), classes=3)
    return pv.recipes.named(name)(spec, **{"latent": 2, "network": "mlp", "widths": (6,), "seed": 1, **options})


def fit(recipe: Recipe | str, data: Data, run: Path | None = None, **settings: Any) -> pv.Run:
    """32 training examples in 4 steps an epoch."""
    return pv.fit(recipe, data, run, **{"batch_size": 8, "device": "cpu", "progress": False, **settings})


class Spoiled(pv.Objective):
    """The negative bound, until step `at` of training, where `spoil` is called with it."""

    def __init__(self, at: int, spoil: Any) -> None:
        super().__init__()
        self.at, self.spoil = at, spoil

    def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
        values = super().forward(model, batch, step)
        if self.training and step == self.at:
            values = self.spoil(model, values)
        return values


@contextmanager
def before_each_update(look: Any) -> Iterator[list[Any]]:
    """What `look` says of the optimiser just before each of its steps."""
    seen: list[Any] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: seen.append(look(optimizer)))
    try:
        yield seen
    finally:
        handle.remove()


def norm(optimizer: torch.optim.Optimizer) -> float:
    gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
    return torch.cat(gradients).norm().item()


def final(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """The tensors of state and weights of a run, and its numbers without what a clock measured."""
    state, numbers = read_tensors(folder / STATE)
    history = [{name: value for name, value in row.items() if name not in TIMINGS} for row in numbers["history"]]
    plain = {name: value for name, value in numbers.items() if name not in TIMINGS}
    return state, read_tensors(folder / WEIGHTS)[0], {**plain, "history": history}


def assert_same_run(one: Path, other: Path) -> None:
    (state, weights, numbers), (other_state, other_weights, other_numbers) = final(one), final(other)
    assert numbers == other_numbers
    for mine, theirs in ((state, other_state), (weights, other_weights)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_trap37_clipping_limits_what_the_optimiser_sees() -> None:
    with before_each_update(norm) as free:
        fit(small(), pictures(), epochs=1)
    clip = min(free) / 2
    with before_each_update(norm) as clipped:
        fit(small(), pictures(), epochs=1, clip=clip)
    assert len(free) == len(clipped) == 4
    assert clipped == pytest.approx([clip] * 4, rel=1e-3)


def test_trap37_the_seed_decides_the_weights_a_name_stands_for() -> None:
    def weights(seed: int, around: int) -> Tensor:
        torch.manual_seed(around)  # what the user's program did before must not matter
        run = fit("vae", pictures(20, 8), epochs=1, seed=seed)
        return torch.cat([tensor.flatten() for tensor in run.model.state_dict().values()])

    first = weights(3, around=0)
    assert torch.equal(first, weights(3, around=1))
    assert not torch.equal(first, weights(4, around=0))


def half_precision(scale: float) -> Fabric:
    """A Fabric in half precision with loss scaling, on the CPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])


def test_trap37_half_precision_scales_the_loss_and_clips_the_true_gradient(tmp_path) -> None:
    assert PRECISIONS["fp16"] == "16-mixed"
    settings, data = Settings(precision="fp16", clip=0.5, batch_size=8, device="cpu"), pictures()
    assert settings.clip is not None
    fabric = half_precision(2.0**40)
    loop = Loop(fabric, small(), data, settings, None)
    before = [p.detach().clone() for p in loop.parameters]
    with before_each_update(lambda optimizer: (norm(optimizer), optimizer.defaults["fused"])) as seen:
        for step in range(40):
            loop._step(torch.arange(8) + 8 * (step % 4))
    # The first scales overflow: such steps are left out, not fatal, and the scale comes down until they fit.
    scale = fabric.strategy.precision.scaler.get_scale()
    assert 1 < scale < 2.0**40
    assert 5 < len(seen) < 40
    assert not any(fused for _, fused in seen)  # a fused update would unscale after the clipping
    assert [size for size, _ in seen] == pytest.approx([0.5] * len(seen), rel=1e-2)
    assert all(not torch.equal(p, q) and p.isfinite().all() for p, q in zip(loop.parameters, before, strict=True))


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "average": ({}, {"average": 0.8}),
    "schedule": ({}, {"schedule": "cosine", "warmup": 3, "clip": 5.0}),
    "patience": ({}, {"patience": 1, "lr": 0.5}),
    "running statistics": ({"network": "conv", "side": 8, "likelihood": "normal-optimal"}, {"average": 0.8}),
    "beta": ({"name": "beta_vae", "warmup": 9}, {}),
    "shared posterior": ({"name": "vamp_prior", "components": 3}, {"average": 0.8}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_trap38_interrupted_and_resumed_is_uninterrupted(name, tmp_path) -> None:
    options, settings = OPTIONS[name]
    data = pictures(side=options.get("side", 4))
    fit(small(**options), data, tmp_path / "whole", epochs=3, **settings)
    for stops in ((1,), (3, 4), (6,), (8, 11)):
        folder = tmp_path / str(stops)
        for place, stop in enumerate(stops):
            fit(small(**options), data, folder, epochs=3, max_steps=stop, resume=place > 0, **settings)
        torch.manual_seed(99)
        run = fit(small(**options), data, folder, epochs=3, resume=True, **settings)
        assert_same_run(folder, tmp_path / "whole")
        best = read_tensors(folder / WEIGHTS)[0]
        held = {**dict(run.model.named_parameters()), **dict(run.model.named_buffers())}
        assert all(torch.equal(held[key], tensor) for key, tensor in best.items())


def test_trap38_a_stop_between_an_epochs_last_step_and_its_end_is_resumed(tmp_path, monkeypatch) -> None:
    fit(small(), pictures(), tmp_path / "whole", epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("polyvae.loop.validate", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(small(), pictures(), tmp_path / "run", epochs=3, save_every=0)
    assert read_tensors(tmp_path / "run" / STATE)[1]["step"] == 4
    fit(small(), pictures(), tmp_path / "run", epochs=3, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def raise_interrupt(*args: Any, **options: Any) -> None:
    raise KeyboardInterrupt


def test_trap38_the_state_holds_current_weights_beside_the_best(tmp_path) -> None:
    # A warm-up that overshoots: the first epoch is the best, and training goes on from the last.
    fit(small(), pictures(), tmp_path / "run", epochs=4, lr=3.0)
    state, numbers = read_tensors(tmp_path / "run" / STATE)
    assert numbers["best_epoch"] < 4
    best, _ = read_tensors(tmp_path / "run" / WEIGHTS)
    for name, tensor in best.items():
        now = next(value for key, value in state.items() if key.startswith("step") and key.endswith(name))
        kept = next(value for key, value in state.items() if key.startswith("best") and key.endswith(name))
        assert torch.equal(kept, tensor)
        assert not torch.equal(now, tensor)


def recorded_orders(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[list[int]]:
    data, seen = pictures(), []
    batch = Split.batch

    def record(self: Split, index: Tensor) -> dict[str, Tensor]:
        if len(self) == len(data.train):
            seen.extend(index.tolist())
        return batch(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Split, "batch", record)
        fit(small(), data, epochs=3, **settings)
    return [seen[len(seen) - 32 * k : len(seen) - 32 * (k - 1)] for k in (3, 2, 1)]


def test_trap39_every_epoch_has_a_shuffle_of_its_own_that_the_seed_repeats(monkeypatch) -> None:
    first, again = recorded_orders(monkeypatch), recorded_orders(monkeypatch)
    other = recorded_orders(monkeypatch, seed=5)
    assert first == again
    for epoch in first:
        assert sorted(epoch) == list(range(32))
    assert len({tuple(epoch) for epoch in (*first, *other)}) == 6


class Member:
    """A Fabric that says it is one of several processes."""

    def __init__(self, fabric: Fabric, rank: int, count: int) -> None:
        self.fabric, self.global_rank, self.world_size = fabric, rank, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fabric, name)


@pytest.mark.parametrize("rows", [8, 7, 1])
def test_trap39_the_mean_gradient_of_several_processes_is_that_of_one(rows) -> None:
    def gradient(rank: int, count: int) -> Tensor:
        fabric = Fabric(accelerator="cpu", devices=1)
        loop = Loop(fabric, small("ae"), pictures(), Settings(batch_size=8, device="cpu"), None)
        loop.fabric = Member(fabric, rank, count)
        with before_each_update(lambda optimizer: torch.cat([p.grad.flatten() for p in loop.parameters])) as seen:
            loop._step(torch.arange(rows))
        return seen[0]

    whole = gradient(0, 1)
    assert whole.any()
    torch.testing.assert_close(sum(gradient(rank, 3) for rank in range(3)) / 3, whole)


def not_a_number(model: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**values, "loss": values["loss"] * torch.nan, "kl": values["kl"] * torch.nan}


def bad_gradient(model: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
    weight = next(model.parameters())
    return {**values, "loss": values["loss"] + (weight * 0).abs().sum().sqrt()}  # finite, its gradient is not


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [(not_a_number, "at step {} loss = nan, kl = nan"), (bad_gradient, "the weights are not finite|loss = nan")],
)
@pytest.mark.parametrize("at", [2, 3, 6, 7])
def test_trap40_what_is_not_finite_stops_and_leaves_the_last_good_state(at, spoil, message, clip, tmp_path) -> None:
    folder, data = tmp_path / "run", pictures()
    with pytest.raises(pv.NonFiniteError, match=message.format(at)) as error:
        fit(small(objective=Spoiled(at, spoil)), data, folder, epochs=2, clip=clip)
    assert str(folder) in str(error.value)
    files = [folder / STATE, *([folder / WEIGHTS] if at > 3 else [])]
    assert (folder / WEIGHTS).exists() is (at > 3)
    for file in files:
        assert all(tensor.isfinite().all() for tensor in read_tensors(file)[0].values())
    assert read_tensors(folder / STATE)[1]["step"] <= at
    # with the fault gone the run goes on as if it had not been
    fit(small(objective=Spoiled(-1, None)), data, folder, epochs=2, clip=clip, resume=True)
    fit(small(objective=Spoiled(-1, None)), data, tmp_path / "whole", epochs=2, clip=clip)
    assert_same_run(folder, tmp_path / "whole")


def test_trap40_a_device_that_is_not_waited_for_still_names_the_first_bad_step(monkeypatch) -> None:
    later(monkeypatch, 50)
    with pytest.raises(pv.NonFiniteError, match=r"at step 5 loss = nan, kl = nan"):
        fit(small(objective=Spoiled(5, not_a_number)), pictures(), epochs=3)


@pytest.mark.parametrize("first", [torch.nan, -torch.inf, -1e30, torch.inf])
def test_trap40_the_best_model_is_defined_whatever_the_first_value_is(first, tmp_path) -> None:
    class Late(pv.Objective):
        def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
            values = super().forward(model, batch, step)
            if not self.training and step == 4:
                values["bound"] = values["bound"] * 0 + first
            return values

    fit(small(objective=Late()), pictures(), tmp_path / "run", epochs=3)
    _, metadata = read_tensors(tmp_path / "run" / WEIGHTS)
    # +inf is the best there is; from anything worse or undefined a later, finite value takes over
    assert metadata["epoch"] == (1 if first == torch.inf else 3)


class Planted:
    """An object whose pickle makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_trap41_a_run_is_json_csv_and_safetensors_and_runs_nothing(tmp_path) -> None:
    folder, sign = tmp_path / "run", tmp_path / "executed"
    fit(small(), pictures(), folder, epochs=1)
    assert {file.suffix for file in folder.iterdir()} == {".json", ".csv", ".safetensors"}
    for file in folder.iterdir():
        content = file.read_bytes()
        if file.suffix == ".safetensors":  # eight bytes of length, a header in JSON, then bare numbers
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            sizes = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            assert len(content) == 8 + int.from_bytes(content[:8], "little") + max(sizes)
        else:
            content.decode("utf-8")
    assert isinstance(json.loads((folder / "run.json").read_text()), dict)
    torch.save({"weights": Planted(sign)}, folder / WEIGHTS)
    with pytest.raises(pv.RunError, match="is not a whole safetensors file"):
        pv.Run.load(folder)
    torch.save({"weights": Planted(sign)}, folder / STATE)
    with pytest.raises(pv.RunError, match="is not a whole safetensors file"):
        fit(small(), pictures(), folder, epochs=2, resume=True)
    assert not sign.exists()


def test_trap42_the_test_part_is_fixed_and_never_augmented(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path))
    tests = []
    for fold in range(2):
        torch.manual_seed(fold)
        data = load("digits", binarise="dynamic", fold=fold, folds=5, download=False)
        index = torch.arange(len(data.test))
        tests += [data.test.batch(index)["x"] for _ in range(2)]
        drawn = [data.train.batch(index)["x"] for _ in range(2)]
        assert not torch.equal(*drawn)
        held = data.validation.batch(torch.arange(20))["x"]
        assert torch.equal(held, data.validation.batch(torch.arange(20))["x"])
    assert all(torch.equal(tests[0], other) for other in tests[1:])
    x = torch.rand(50, 3)
    cuts = []
    for around in range(2):
        torch.manual_seed(around)
        cuts.append(wrap(x, validation=0.2, test=0.3))
    for part in ("train", "validation", "test"):
        assert torch.equal(*[getattr(cut, part).tensors["x"] for cut in cuts])
    rows = torch.cat([getattr(cuts[0], part).tensors["x"] for part in ("train", "validation", "test")])
    assert torch.equal(rows.sort(0).values, x.sort(0).values)


def test_trap43_running_out_of_memory_is_not_hidden(tmp_path) -> None:
    calls = []

    class Heavy(pv.Objective):
        def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
            calls.append(torch.is_grad_enabled())
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        fit(small(objective=Heavy()), pictures(), tmp_path / "run", epochs=1)
    assert calls == [True]
    made, data = small(), pictures()
    count = 0

    def heavy(*args: Any) -> None:
        nonlocal count
        count += 1
        raise torch.OutOfMemoryError("out of memory")

    made.model.register_forward_pre_hook(heavy)
    with pytest.raises(torch.OutOfMemoryError):
        both_bounds(made, data.validation, samples=2)
    assert count == 1


class Waits(TorchDispatchMode):
    """Counts the operations for which a program waits for its device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim", "_unique2"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def later(monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    """Lets the meter treat the CPU as a device that runs on its own."""
    made = Meter.__init__

    def make(self: Meter, device: torch.device) -> None:
        made(self, device)
        self.look = look

    monkeypatch.setattr(Meter, "__init__", make)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("pca", "ppca")])
def test_trap44_no_step_waits_for_the_device(name, monkeypatch) -> None:
    later(monkeypatch, 50)
    settings = Settings(batch_size=8, device="cpu", clip=1.0, average=0.9, schedule="cosine", warmup=2)
    loop = Loop(Fabric(accelerator="cpu", devices=1), small(name), pictures(), settings, None)
    index = torch.arange(8)
    with Waits() as control:
        bool(torch.ones(()) > 0)
    assert control.found == ["_local_scalar_dense"]
    waits = Waits()
    for method in ("tolist", "numpy", "cpu"):
        monkeypatch.setattr(Tensor, method, lambda self, *args, method=method: waits.found.append(method))
    for step in range(8):
        if step == 0:
            loop._step(index)  # the first may look whether all is well
            waits.found.clear()
            continue
        with waits:
            loop._step(index)
    assert waits.found == []


@pytest.mark.parametrize("average", [None, 0.9])
def test_trap44_the_model_is_not_copied_at_improvements_and_no_cache_is_emptied(average, monkeypatch) -> None:
    copied = []
    deepcopy = copy.deepcopy

    def record(value: Any, *args: Any) -> Any:
        if isinstance(value, (nn.Module, Tensor)) and not args:
            copied.append(type(value).__name__)
        return deepcopy(value, *args)

    monkeypatch.setattr(copy, "deepcopy", record)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: copied.append("empty_cache"))
    run = fit(small(objective=improving()), pictures(), epochs=4, average=average)
    bounds = [row["validation_bound"] for row in run.history]
    assert bounds == sorted(bounds)
    assert copied == ([] if average is None else ["VAE"])


def improving() -> pv.Objective:
    kl = pv.Weighted(KL(), Linear(0.9, 1.0, 10))
    return pv.Objective({"reconstruction": Reconstruction(), "kl": kl})
