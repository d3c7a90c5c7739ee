"""Mistakes found in published training code, each a test that fails on it; the number is the trap's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import polyvae as pv
from helpers.contract import SEVERAL, TWO, examples, make
from helpers.training import (
    before_each_update,
    fit,
    half_precision,
    later,
    norm,
    pictures,
    small,
)
from polyvae.data import Split, load, wrap
from polyvae.evaluation import both_bounds
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes import RECIPES
from polyvae.training.loop import Loop
from polyvae.training.settings import PRECISIONS, Settings
from polyvae.training.sharing import tell_examples


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


@pytest.mark.parametrize("rows", [5, 4, 3, 2])
def test_a_batch_too_small_to_be_shared_is_one_processs_step(rows) -> None:
    """One example a process has no statistics, and no pairs for a discrepancy."""
    recipes: dict[str, dict[str, Any]] = {
        "mmd_vae": {"likelihood": "bernoulli"},
        "ae": {"likelihood": "bernoulli", "network": "conv", "widths": (4, 8, 8)},
    }

    def gradient(name: str, rank: int, count: int) -> Tensor:
        fabric = Fabric(accelerator="cpu", devices=1)
        loop = Loop(fabric, small(name, **recipes[name]), pictures(), Settings(batch_size=8, device="cpu"), None)
        loop.fabric = Member(fabric, rank, count)
        loop.plain.train()
        with before_each_update(lambda optimizer: torch.cat([p.grad.flatten() for p in loop.parameters])) as seen:
            loop._step(torch.arange(rows))
        # Every process holds the sums of all, of which this one, alone here, has its own part: nothing but the first's.
        assert loop.meter.count == rows
        assert all((value == 0) == (rank > 0) for name, value in loop.meter.means().items() if name == "loss")
        return seen[0]

    for name in recipes:
        each = [gradient(name, rank, 3) for rank in range(3)]
        torch.testing.assert_close(sum(each) / 3, gradient(name, 0, 1))


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
            if not self.training:  # the look at two examples before the first step
                return super().forward(model, batch, step)
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


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("pca", "ppca", "gaussian_process")])
def test_trap44_no_step_waits_for_the_device(name, monkeypatch) -> None:
    later(monkeypatch, 50)
    monkeypatch.setattr("polyvae.observe.places.at_hand", lambda device: False)  # as on an accelerator
    settings = Settings(batch_size=8, device="cpu", clip=1.0, average=0.9, schedule="cosine", warmup=2)
    several = name in SEVERAL
    data = wrap(examples(TWO, 40), validation=16, modalities=[*TWO.values]) if several else pictures()
    made = make(name, TWO) if several else small(name)
    loop = Loop(Fabric(accelerator="cpu", devices=1), made, data, settings, None)
    tell_examples(loop.recipe.objective, 24)
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
