"""What a training step does beyond the bare loop, in microseconds by the pieces of both."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from threading import Event
from typing import Any

import torch

from benchmarks.training import BATCH, OPTIONS, Bare, digits
from polyvae import recipes
from polyvae.data import wrap
from polyvae.model.spec import Spec
from polyvae.training.cpu import kept_heap
from polyvae.training.devices import fabric_of
from polyvae.training.loop import Loop
from polyvae.training.progress import Silent
from polyvae.training.settings import Settings

CASE = "784-512-16 perceptron"
HEADER = ["piece", "polyvae, us", "bare loop, us", "beyond, us"]
# Of each piece the object that does it and its method, of the training loop and of the bare one.
PIECES = {
    "examples gathered and scaled": (("train", "batch"), ("", "batch")),
    "model and objective": (("", "module"), ("", "loss")),
    "backward": (("fabric", "backward"), ("", "backward")),
    "optimiser": (("optimizer", "step"), ("optimizer", "step")),
    "gradients dropped": (("optimizer", "zero_grad"), ("optimizer", "zero_grad")),
    "values summed, loss looked at": (("meter", "add"), None),
}
REST = "seed, learning rate, clock, the loop itself"
CLOSE = "at an epoch's end, shared out over its steps"


class Clock:
    """Seconds of every call of the methods it has been set on, by the piece that they are."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def set_on(self, owner: Any, method: str, piece: str) -> None:
        """Replaces the method of that one object by one that is timed."""
        timed: Callable[..., Any] = getattr(owner, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return timed(*args, **kwargs)
            finally:
                self.seconds[piece].append(time.perf_counter() - began)

        owner.__dict__[method] = call

    def set_on_all(self, owner: Any, side: int) -> None:
        for piece, sides in PIECES.items():
            where = sides[side]
            if where is not None:
                self.set_on(getattr(owner, where[0]) if where[0] else owner, where[1], piece)

    def table(self) -> dict[str, float]:
        """Microseconds a step, medians, the rest of a step and its share of an epoch's end with them."""
        found = {piece: 1e6 * median(self.seconds[piece]) for piece in PIECES if piece in self.seconds}
        found[REST] = 1e6 * median(self.seconds["step"]) - sum(found.values())
        if ends := self.seconds.get("end"):
            found[CLOSE] = 1e6 * sum(ends) / len(self.seconds["step"])
        return found


def step(device: torch.device, rounds: int) -> list[list[str]]:
    """The table's rows: an epoch of each in turn, so many `rounds`, single calls timed."""
    pictures = digits()
    data, spec = wrap(pictures, validation=pictures[:BATCH]), Spec(tuple(pictures.shape[1:]))
    ours, bare = (recipes.vae(spec, latent=16, seed=0, **OPTIONS[CASE]) for _ in range(2))
    settings = Settings(epochs=rounds, batch_size=BATCH, device=device.type)  # pyright: ignore[reportArgumentType]
    settings = settings.resolved(len(pictures))
    loop, by_hand = Loop(fabric_of(settings), ours, data, settings, None), Bare(bare, pictures.to(device))
    clocks = Clock(), Clock()
    for side, owner in enumerate((loop, by_hand)):
        clocks[side].set_on_all(owner, side)
    clocks[0].set_on(loop, "_step", "step")
    clocks[0].set_on(loop, "_check", "end")
    clocks[0].set_on(loop, "_validated", "end")
    clocks[1].set_on(by_hand, "step", "step")
    with kept_heap():
        for epoch in range(1, rounds + 1):
            loop.epochs = epoch
            loop.run(Event(), Silent())
            for index in torch.randperm(len(pictures), device=device).split(BATCH):
                by_hand.step(index)
    mine, theirs = (clock.table() for clock in clocks)
    return [*_rows(mine, theirs), _row("together", sum(mine.values()), sum(theirs.values()))]


def _rows(mine: dict[str, float], theirs: dict[str, float]) -> list[list[str]]:
    return [_row(piece, mine[piece], theirs.get(piece, 0.0)) for piece in mine]


def _row(piece: str, mine: float, theirs: float) -> list[str]:
    return [piece, f"{mine:,.0f}", f"{theirs:,.0f}", f"{mine - theirs:+,.0f}"]
