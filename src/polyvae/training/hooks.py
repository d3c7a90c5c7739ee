"""What a user hands to `fit` beside numbers: an optimiser of their own, functions that are told each epoch's row."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

Factory = Callable[..., Optimizer]  # (parameters) -> optimiser, or a class of optimisers
Callback = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Hooks:
    """What a user hands to `fit` beside numbers: a factory of the optimiser, and what is told each epoch's row."""

    optimizer: Factory | None = None
    callbacks: Sequence[Callback] = ()


NONE = Hooks()


def checked_hooks(factory: Factory | None, callbacks: Any, said: set[str], devices: int) -> Hooks:
    """What `fit` was given beside settings of the names `said`. Raises TypeError or ValueError, by name."""
    if callable(callbacks) or not isinstance(callbacks, Sequence):
        hint = ": give [function]" if callable(callbacks) else ""
        raise TypeError(
            f"callbacks is a sequence of functions of a row of metrics; got a {type(callbacks).__name__}{hint}"
        )
    if wrong := [type(each).__name__ for each in callbacks if not callable(each)]:
        raise TypeError(f"callbacks are functions of a row of metrics; got {', '.join(wrong)}")
    if factory is None:
        named = {"callbacks": callbacks}
    elif not callable(factory):
        raise TypeError(
            "optimizer is a class of torch.optim or a function of the parameters, such as lambda parameters: "
            f"torch.optim.SGD(parameters, lr=0.1); got a {type(factory).__name__}"
        )
    else:
        own = {"weight_decay"} if isinstance(factory, type) else {"lr", "weight_decay"}
        if unread := sorted(own & said):
            raise ValueError(f"{' and '.join(unread)} would not be read beside optimizer=; set them in its function")
        named = {"optimizer": factory, "callbacks": callbacks}
    for name, value in named.items():
        try:
            pickle.dumps(value if devices > 1 else None)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"with several devices {name}= must be importable, and no lambda ({error})") from None
    return Hooks(factory, tuple(callbacks))
