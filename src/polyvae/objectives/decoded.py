"""What terms of a game look at: data, what is decoded from draws, and what a critic says of both, shared by a draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from polyvae.model.draw import Draw, first_heads
from polyvae.model.laws import repeat
from polyvae.objectives.critics import drawn_latents, from_prior

Source = Literal["reconstruction", "prior"]
BOTH: tuple[Source, ...] = ("reconstruction", "prior")


def decoded(draw: Draw, source: Source) -> Tensor:
    """Means of the first head, [K * B, *x], at the draws, which take no gradient, or at as many draws of the prior."""
    latents = drawn_latents(draw, tuple(draw.latents))
    kept = latents[0].kept
    if ("decoded", source) not in kept:
        z = {each.name: draw.values[each.name].detach() for each in latents}
        if source == "prior":
            with torch.no_grad():
                z = {each.name: from_prior([each]).reshape(z[each.name].shape) for each in latents}
        kept["decoded", source] = decoded_at(draw, z)
    return kept["decoded", source]


def logits(draw: Draw, critic: nn.Module, sources: Sequence[Source], given: Sequence[str]) -> list[Tensor]:
    """The discriminator's logits of the data, [B, P], and of what is decoded, [K, B, P], which move it alone."""
    kept = next(iter(draw.latents.values())).kept
    key = ("logits", critic, tuple(sources), tuple(given))
    if key not in kept:
        x, made = data_of(draw), [decoded(draw, source).detach() for source in sources]
        beside = beside_of(draw, given, 1)
        rows = [torch.cat([each, *[repeat(each, draw.samples)] * len(made)]) for each in beside]
        found = critic(torch.cat([x, *made]), *rows)[1]
        data, *others = found.split([len(x), *map(len, made)])
        kept[key] = [data, *(each.unflatten(0, (draw.samples, -1)) for each in others)]
    return kept[key]


def decoded_at(draw: Draw, z: dict[str, Tensor]) -> Tensor:
    """The mean that is decoded from these latents [K * B, ...] and all else of the draw, [K * B, *x]."""
    assert draw.decode is not None
    beside = {name: repeat(value, draw.samples) for name, value in draw.values.items() if name not in z}
    return draw.decode({**beside, **z})[head_of(draw)].mean


def head_of(draw: Draw) -> str:
    """The head that is played for: the first that enters the bound."""
    return first_heads(draw.heads)[0]


def data_of(draw: Draw) -> Tensor:
    """What that head explains, [B, *x]."""
    return draw.heads[head_of(draw)].x


def beside_of(draw: Draw, given: Sequence[str], samples: int) -> list[Tensor]:
    """What a critic reads beside x, repeated for each sample, [K * B, ...]."""
    return [repeat(draw.values[name], samples) for name in given]


def alike(draw: Draw, given: Sequence[str]) -> Tensor:
    """Which rows of the batch have the same values of these names, boolean [B, B]."""
    rows = [draw.values[name].flatten(1) for name in given]
    count = len(data_of(draw))
    same = torch.ones(count, count, dtype=torch.bool, device=data_of(draw).device)
    for each in rows:
        same = same & (each[:, None] == each).all(-1)
    return same


def checked_sources(sources: Sequence[Source]) -> tuple[Source, ...]:
    if not sources or not set(sources) <= set(BOTH):
        raise ValueError(f"sources are {' and '.join(BOTH)}, or one of them; got {tuple(sources)}")
    return tuple(sources)


def frozen(critic: nn.Module, x: Tensor, beside: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Features and logits of a critic whose parameters take no gradient."""
    held = {name: value.detach() for name, value in critic.named_parameters()}
    return functional_call(critic, held, (x, *beside))
