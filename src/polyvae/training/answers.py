"""What answers of a trained recipe are made of: one value or several by name, in the type of what was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from polyvae.completion.complete import Completion
from polyvae.data.exchange.given import present
from polyvae.data.exchange.returned import kind_of, like_of, returned
from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluating
from polyvae.model.parts import given, shapes
from polyvae.model.spec import Column
from polyvae.model.vae import VAE
from polyvae.observe.transforms import OneHot


def only(found: dict[str, Any]) -> Any:
    """The only value, or all by name."""
    return next(iter(found.values())) if len(found) == 1 else found


def told(found: Completion, x: Any, name: str, columns: Sequence[Column]) -> Completion:
    """A completion of the value of this name in the type of x, or of what x holds under that name."""
    like = like_of(x, name)
    return Completion(
        returned(found.mean, like, 0, columns),
        returned(found.std, like, 0, columns),
        returned(found.samples, like, 1, columns),
        returned(found.quantiles, like, 1, columns),
        found.levels,
        returned(found.effective, kind_of(x)),
        returned(found.draws, like, 1, columns),
        found.law,
    )


def one_hot(model: VAE, y: Tensor) -> Tensor:
    """Classes [N] as the values of the latent that is the label; rows of it are left as they are."""
    return y.float() if y.ndim > 1 else OneHot("y", model.prior["y"]({}).event_shape[0])({"y": y.long()})["y"]


def check_latents(source: Any, split: Split, need: Callable[[set[str]], None]) -> None:
    """ValueError for latents of another shape than the prior's; `need` is called with the conditions not given."""
    model = source.model
    with evaluating(model) as device:
        values = present(source.recipe.observe)(split.to(device).take([0]).tensors)
        need(set(model.conditions) - set(values))
        wants: dict[str, Any] = {}
        for name, prior in model.prior.items():
            event = () if shapes(prior) else prior(model.featured(values, given(prior))).event_shape
            wants |= shapes(prior) or {name: event}
        for name, wanted in wants.items():
            z = values[name]
            if z.is_floating_point() and z.shape[1:] != wanted:
                found = list(split.tensors[name].shape)
                raise ValueError(f"{name} is [N, {', '.join(map(str, wanted))}]; got {found}")
