"""Fixed blocks of examples with noise of their own, so that no result depends on a loader's batch size."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from polyvae.data.columns.gaps import check_missing
from polyvae.data.seeds import forked, seed_generators
from polyvae.data.split import Split
from polyvae.model.conditions import flag
from polyvae.model.parts import evaluation_mode
from polyvae.model.spec import Column
from polyvae.model.vae import Values
from polyvae.observe.transforms import Chain

BLOCK = 100  # examples; a constant of the results, not a setting
Progress = Callable[[int, int], None]  # how many are done, and how many there are
Result = TypeVar("Result")


class Source(NamedTuple):
    """What is evaluated: a model, and what its batches go through first."""

    model: Any
    observe: Callable[[Values], Values] = Chain()


def source_of(source: Any, *needed: str, what: str = "this") -> Source:
    """The model and the batch transform of a recipe, of anything that has a `recipe`, or of a bare model.

    A model is a VAE, or any module that called with a batch and a number of samples returns a `Draw`, which is enough
    for bounds. `needed`: what else of a VAE `what` is asked for takes. Raises TypeError, naming what is missing.
    """
    if isinstance(source, (str, Path)):
        raise TypeError(f"{what} is asked of a run itself, which Run.load({str(source)!r}) reads; got its name")
    source = getattr(source, "recipe", source)
    model = getattr(source, "model", source)
    if not isinstance(model, nn.Module) or not _draws(model):
        raise TypeError(
            "evaluation needs a recipe or a VAE, or a module called with a batch and a number of samples that returns "
            f"a Draw; got {type(source).__name__}"
        )
    if missing := [name for name in needed if not hasattr(model, name)]:
        raise TypeError(f"{what} needs a model with {' and '.join(missing)}, as a VAE has; got {type(model).__name__}")
    return Source(model, getattr(source, "observe", Chain()))


def _draws(model: nn.Module) -> bool:
    """Whether a module can be called with a batch and a number of samples."""
    try:
        inspect.signature(model.forward).bind({}, 1)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class Blocks:
    """How examples are cut into consecutive blocks, each with noise of its own.

    `size` examples a block, the last one shorter; where a single one left over may not stand `alone` it joins the block
    before: BatchNorm over a value a channel and terms that compare examples are not defined on a batch of one.
    `stream`: what keeps the noise of one use of a seed apart from that of another. `only`: the numbers of the blocks
    that are asked for, all by default.
    """

    size: int = BLOCK
    alone: bool = True
    stream: tuple[int, ...] = ()
    only: Sequence[int] | None = None

    def cut(self, count: int) -> list[slice]:
        """All blocks of so many examples."""
        starts = list(range(0, count, self.size))
        if not self.alone and len(starts) > 1 and self.size > 1 and count % self.size == 1:
            starts.pop()
        return [slice(start, stop) for start, stop in pairwise([*starts, count])]

    def each(self, count: int, work: Callable[[slice], Result], device: torch.device, seed: int) -> list[Result]:
        """`work` on every block of so many examples that is asked for, in order.

        What it draws follows from seed, block and stream; torch's generators are left as they were.
        """
        blocks = self.cut(count)
        results = []
        with forked(device):
            for number in range(len(blocks)) if self.only is None else self.only:
                seed_generators(device, _seed(seed, number, *self.stream))
                results.append(work(blocks[number]))
        return results


ALL = Blocks()


def each_block(
    source: Any,
    split: Split,
    measure: Callable[[Any, Values], Result],
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    blocks: Blocks = ALL,
) -> list[Result]:
    """`measure(model, batch)` on every block of a split in order, by default of 100 examples.

    The model is in evaluation mode and gradients are off. Whatever is random in a block, in the data's transform, in
    `observe` and in `measure`, follows from `seed` and the block's number; global generators stay untouched. Every
    measure sees the same batches. Raises ValueError for an empty split.
    """
    model, observe = source_of(source)
    if len(split) == 0:
        raise ValueError("there is nothing to evaluate: the split holds no examples")
    check_gaps(model, split)
    with evaluating(model, device) as target:

        def measured(block: slice) -> Result:
            index = torch.arange(block.start, block.stop, device=target)
            part = split
            if split.device != target:
                # A block at a time: what is evaluated need not fit on the device, nor a mapped file into memory.
                part, index = split.take(range(block.start, block.stop)).to(target), index - block.start
            result = measure(model, observe(part.batch(index)))
            if progress is not None:
                progress(block.stop, len(split))
            return result

        return blocks.each(len(split), measured, target, seed)


def check_gaps(model: Any, *splits: Split, columns: Sequence[Column] = (), where: str = "x") -> None:
    """ValueError where values are missing that the model would take for what stands in their place; DataError with how
    many in each of the `columns` of `where`, if their names are known; ValueError for a mask that the model does not
    read, and for conditions that are missing where it needs them all."""
    check_known(model, *(split.tensors for split in splits))
    if "seen" in (inputs := getattr(model, "inputs", ("seen",))):
        for split in splits:
            _check_masks(inputs, split.tensors)
        return
    held = [~split.tensors["seen"] for split in splits if "seen" in split.tensors]
    if not (missing := sum(int(gaps.sum()) for gaps in held)):
        return
    if columns and all(gaps.shape[1:] == (len(columns),) for gaps in held):
        counts = torch.stack([gaps.sum(0).cpu() for gaps in held]).sum(0).tolist()
        check_missing({each.name or str(n): counts[n] for n, each in enumerate(columns)}, where, aside=True)
    raise ValueError(
        f"{missing:,} values of x are missing, and this model reads all of x: train incomplete, which learns from what "
        "is observed, or leave out the examples that lack values"
    )


def check_known(model: Any, *parts: Mapping[str, Tensor]) -> None:
    """ValueError where a condition is not known in all rows, and the model has not learned to do without."""
    inputs = getattr(model, "inputs", ())
    for name in inputs:
        if flag(name) in inputs:
            continue
        unknown = sum(int((tensors[flag(name)] == 0).sum()) for tensors in parts if flag(name) in tensors)
        if unknown:
            raise ValueError(
                f"{name} is missing in {unknown:,} examples, and this model reads it in all: train with dropped, "
                "0 or more, which learns to do without, or m2, which learns labels from those that are known"
            )


def _check_masks(inputs: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
    """ValueError for a mask of x under a name that the model does not read, where nothing else says what is missing."""
    x, seen = tensors.get("x"), tensors.get("seen")
    if x is None or (seen is not None and not bool(seen.all())):
        return
    for name, value in tensors.items():
        if name in ("x", "seen", "y", *inputs) or value.shape != x.shape:
            continue
        if bool(((value == 0) | (value == 1)).all()):
            raise ValueError(f"{name!r} is read by nothing; a mask of what is there is called 'seen'")


def joined(results: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Per-example values of all blocks, one tensor [N, ...] a name, on the CPU."""
    return {name: torch.cat([result[name].cpu() for result in results]) for name in results[0]}


@contextmanager
def seeded(device: torch.device, *key: int) -> Iterator[None]:
    """torch's generators of the CPU and of `device` seeded by all of `key`, and put back as they were afterwards."""
    with forked(device):
        seed_generators(device, _seed(*key))
        yield


def _seed(*key: int) -> int:
    """One seed of 63 bits: neighbouring keys give unrelated streams, the same ones with every version of NumPy."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


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
