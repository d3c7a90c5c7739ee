"""Fixed blocks of examples with noise of their own, so that no result depends on a loader's batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from polyvae.data.split import Split
from polyvae.model.vae import VAE, Values
from polyvae.observe.transforms import Chain

BLOCK = 100  # examples; a constant of the results, not a setting
Progress = Callable[[int, int], None]
Result = TypeVar("Result")


def parts(source: Any) -> tuple[VAE, Callable[[Values], Values]]:
    """The model and the batch transform of a recipe, of anything that has a `recipe`, or of a bare model."""
    source = getattr(source, "recipe", source)
    model = getattr(source, "model", source)
    if not isinstance(model, VAE):
        raise TypeError(f"evaluation needs a recipe or a VAE; got {type(source).__name__}")
    return model, getattr(source, "observe", Chain())


def device_of(model: nn.Module, default: torch.device | str = "cpu") -> torch.device:
    """Where the model's first parameter or buffer lies."""
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device(default)


@contextmanager
def evaluating(model: nn.Module, device: torch.device | str | None = None) -> Iterator[torch.device]:
    """Evaluation mode without gradients, on `device` where one is given; modes and device are put back."""
    home = device_of(model)
    target = home if device is None else torch.device(device)
    try:
        if target != home:
            model.to(target)
        with evaluation_mode(model), torch.inference_mode():
            yield target
    finally:
        if target != home:
            model.to(home)


@contextmanager
def seeded(device: torch.device, *key: int) -> Iterator[None]:
    """torch's generators of the CPU and of `device` seeded by all of `key`, and put back as they were afterwards."""
    # SeedSequence mixes: neighbouring keys give unrelated streams, the same ones with every version of NumPy.
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    devices = [device] if device.type == "cuda" else [0] if device.type == "mps" else []
    with torch.random.fork_rng(devices=devices, device_type="mps" if device.type == "mps" else "cuda"):
        # Not torch.manual_seed: it would seed every other GPU of the machine too.
        torch.default_generator.manual_seed(seed)
        if device.type == "mps":
            torch.mps.manual_seed(seed)
        elif device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def each_block(
    source: Any,
    split: Split,
    measure: Callable[[VAE, Values], Result],
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """`measure(model, batch)` on every block of 100 examples in order, the last one shorter.

    The model is in evaluation mode and gradients are off. Whatever is random in a block, in the data's transform, in
    `observe` and in `measure`, follows from `seed` and the block's number; global generators stay untouched. Every
    measure sees the same batches. Raises ValueError for an empty split.
    """
    model, observe = parts(source)
    if len(split) == 0:
        raise ValueError("there is nothing to evaluate: the split holds no examples")
    results = []
    with evaluating(model, device) as target:
        for number, start in enumerate(range(0, len(split), BLOCK)):
            # A block at a time: what is evaluated need not fit on the device, nor a mapped file into memory.
            block = split.take(range(start, min(start + BLOCK, len(split)))).to(target)
            with seeded(target, seed, number):
                results.append(measure(model, observe(block.batch(torch.arange(len(block), device=target)))))
            if progress is not None:
                progress(start + len(block), len(split))
    return results


def joined(results: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Per-example values of all blocks, one tensor [N, ...] a name, on the CPU."""
    return {name: torch.cat([result[name].cpu() for result in results]) for name in results[0]}


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every part is in the mode it was in."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training
