"""What a run writes into its metrics beside its own terms: the study's quantities, in one unit for all methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence
from torch.nn.functional import mse_loss

from polyvae.model.distributions.codes import Quantised
from polyvae.model.vae import VAE, Draw, Values
from polyvae.recipes import Recipe

BETA = 0.25  # the commitment's weight in the study's loss of the codes


def heads(model: VAE) -> tuple[str | None, str | None]:
    """The head of x that does not read m and the one that does, None where there is none."""
    found = {"m" in head.likelihood.given: name for name, head in reversed(model.heads.items())}  # pyright: ignore
    return found.get(False), found.get(True)


def decoded(model: VAE, values: Values, m: Tensor | None) -> Tensor:
    """The mean of p(x | z), or of p(x | z, m) where m is given or where no head is without it: then m is empty."""
    plain, conditioned = heads(model)
    if m is None and plain is None:
        m = torch.zeros_like(values["m"])
    name = plain if m is None else conditioned
    if name is None:
        raise ValueError("this model has no decoder that reads m")
    return model.heads[name](values if m is None else {**values, "m": m}).mean


def codes_loss(q: Distribution, p: Distribution) -> Tensor:
    """(1 + 0.25) |e - c|^2 / D_z, [B]: codebook and commitment cost of encoder output e and code words c, mean of z."""
    assert isinstance(q, Quantised)
    return (1 + BETA) * (q.encoded - q.vectors).square().flatten(1).mean(1)


LATENT: dict[str, Callable[[Distribution, Distribution], Tensor]] = {"gaussian": kl_divergence, "vq": codes_loss}


def watch(recipe: Recipe, family: str) -> None:
    """Lets the recipe's objective report more, by hooks, which change no weight and no name of a tensor.

    In training: `observed` and `observed_square`, the number of pixels seen and its square, means over the batch. In
    validation: `mse`, the squared error per value of the decoder without m (at the empty mask where there is only one
    decoder), `latent`, the KL or the loss of the codes, and `conditioned_mse`, with the mask that was drawn.
    """
    model, latent, drawn = recipe.model, LATENT[family], []
    plain, conditioned = heads(model)

    def keep(_: Any, __: Any, draw: Draw) -> None:
        if not model.training:
            drawn.append(draw)

    def report(objective: Any, arguments: tuple[Any, ...], values: dict[str, Tensor]) -> dict[str, Tensor]:
        batch = arguments[1]
        if objective.training:
            return values if conditioned is None else {**values, **_observed(batch)}
        draw = drawn.pop()
        drawn.clear()
        z, x = draw.latents["z"], batch["x"]
        without = decoded(model, {**batch, "z": z.z[0]}, None) if plain is None else draw.heads[plain].p.mean
        more = {"mse": mse_loss(without, x), "latent": latent(z.q, z.p).mean()}
        if conditioned is not None:
            more["conditioned_mse"] = mse_loss(draw.heads[conditioned].p.mean, x)
        return {**values, **more}

    model.register_forward_hook(keep)
    recipe.objective.register_forward_hook(report)


def _observed(batch: Values) -> dict[str, Tensor]:
    """Of the pixels that m shows of each example: the mask is its last channel."""
    seen = batch["m"][:, -1].flatten(1).sum(1)
    return {"observed": seen.mean(), "observed_square": seen.square().mean()}
