"""Bounds on log p(x) example by example: the plain one, the importance-weighted one, and the parts they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Progress, each_block, joined
from polyvae.evaluation.support import supported
from polyvae.model.draw import first_heads
from polyvae.model.precision import wide
from polyvae.model.vae import VAE, Draw, Values

# Values of the likelihood in one chunk of samples. On a CPU its temporaries stay in the cache; on a GPU a kibibyte of
# memory per value leaves room for the decoder's layers. Powers of two, so that machines of a kind draw the same noise.
_CPU_VALUES = 2**21
_BYTES_A_VALUE = 1024


class LogMeanExp:
    """log 1/K sum_k exp(a_k) over values that come in chunks [k, B], in the widest precision that the device has."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, chunk: Tensor) -> None:
        """Takes in a chunk [k, B]."""
        part = wide(chunk).logsumexp(0)
        self.total = part if self.total is None else torch.logaddexp(self.total, part)
        self.count += len(chunk)

    @property
    def value(self) -> Tensor:
        """[B]."""
        if self.total is None:
            raise ValueError("no chunk was added")
        return self.total - log(self.count)


@dataclass(frozen=True)
class Bounds:
    """Per-example values in nats, float64 [N], over `samples` draws of the latents for each example.

    `plain`: E_q[log p(x | z)] - KL(q || p). `importance`: log 1/K sum_k p(x, z_k) / q(z_k | x). `heads`: E_q[log p(x |
    z)] of every head; of several heads of one value the first enters the bounds. `kl`: of every latent, in closed form
    where `analytic` says so, else estimated at the draws. `entropy`: E_q[-log q(z | x)] of every latent, likewise in
    closed form where there is one. Outside the support of a law all but `kl` is -inf. No weight
    of a head enters. Where a posterior is a point there is no bound: the two are -inf, and a few draws are made; where
    it is a map of codes, one draw says all.
    """

    plain: Tensor
    importance: Tensor
    heads: dict[str, Tensor]
    kl: dict[str, Tensor]
    entropy: dict[str, Tensor]
    analytic: dict[str, bool]
    samples: int


def both_bounds(
    source: Any,
    split: Split,
    samples: int = 5000,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Bounds:
    """Both bounds of every example of a split and their parts, at the same `samples` draws of the latents.

    `source`: a recipe, a VAE, or any module whose call `module(batch, samples)` returns a `Draw`. Raises ValueError
    below one sample, TypeError for what returns something else.
    """
    at_least("samples", samples, 1, "draws of the latents")
    analytic: dict[str, bool] = {}
    counted: dict[str, None] = {}  # the heads that enter the bounds

    def measure(model: Any, batch: Values) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        weights = LogMeanExp()
        draw: Any = None
        for draw in draws_of(model, batch, samples):
            analytic.update({name: latent.analytic for name, latent in draw.latents.items()})
            counted.update(dict.fromkeys(first_heads(draw.heads)))
            for name, piece in _pieces(draw).items():
                totals[name] = totals.get(name, 0.0) + wide(piece).sum(0)
            # Of a map of codes log q = 0, and its KL is -log p: a learned prior need not be asked twice.
            weights.add(draw.log_px - draw.kl if certain(model) else draw.log_weight)
        found = {name: total / weights.count for name, total in totals.items()}
        found["importance"] = weights.value
        # Outside a support the density is 0, also where a network that reads the value makes NaN of it.
        for name, holds in supported(draw).items():
            for part in (f"head {name}", *(["importance"] if name in counted else [])):
                found[part] = found[part].masked_fill(~holds, -inf)
        return found

    found = joined(each_block(source, split, measure, seed, device, progress))
    heads = {name[5:]: value for name, value in found.items() if name.startswith("head ")}
    kl = {name[3:]: value for name, value in found.items() if name.startswith("kl ")}
    entropy = {name[8:]: value for name, value in found.items() if name.startswith("entropy ")}
    log_px = torch.stack([heads[name] for name in counted]).sum(0)
    plain = torch.where(log_px == -inf, log_px, log_px - torch.stack(list(kl.values())).sum(0))
    # A point has density +inf where it was drawn: log p - log q is -inf, as its KL of +inf has it.
    return Bounds(plain, found["importance"], heads, kl, entropy, analytic, samples)


def importance_bound(
    source: Any,
    split: Split,
    samples: int = 5000,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """log 1/K sum_k p(x, z_k) / q(z_k | x) of every example, nats, float64 [N], K `samples`; it rises to log p(x) with
    K.

    The same for every loader and batch size: the noise of an example goes by its place in the split, in blocks of 100.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016.
    """
    return both_bounds(source, split, samples, seed, device, progress).importance


def _pieces(draw: Draw) -> dict[str, Tensor]:
    heads = {f"head {name}": head.log_p for name, head in draw.heads.items()}
    kl = {f"kl {name}": latent.kl for name, latent in draw.latents.items()}
    entropy = {f"entropy {name}": latent.entropy for name, latent in draw.latents.items()}
    return {name: draw.weighed(value) for name, value in {**heads, **kl, **entropy}.items()}


def draws_of(model: Any, batch: Values, samples: int) -> Iterator[Draw]:
    """Draws of the model, `samples` in all, a chunk at a time; one small chunk where the KL is infinite anyway.

    Where every posterior holds one value alone (a map of codes), all draws are the same: one is made.
    """
    if certain(model):
        samples = 1
    # What is scored; of a module that does not name its heads before it is called, all that it may score.
    scored = [head.of for head in model.heads.values()] if isinstance(model, VAE) else list(batch)
    values = sum(batch[name].numel() for name in scored)  # pyright: ignore[reportArgumentType]
    chunk = max(1, chunk_values(next(iter(batch.values())).device) // values)
    done, most = 0, chunk
    chunk = 1 if getattr(model, "summed", ()) else chunk  # until it is known over how many values each draw runs
    while done < samples:
        count = min(chunk, samples - done)
        draw = model(batch, count)
        if not isinstance(draw, Draw):
            raise TypeError(
                f"a model called with a batch and a number of samples returns a Draw; {type(model).__name__} returned "
                f"{type(draw).__name__}"
            )
        yield draw
        chunk = max(1, most * count // draw.samples)
        done += count  # which draw.samples is not, where a latent is summed over
        if done == count and bool((draw.kl == inf).all()):
            return


def certain(model: Any) -> bool:
    """Whether every posterior holds one value alone, so that all draws are the same."""
    posteriors = model.posterior.values() if isinstance(model, VAE) else ()
    return bool(posteriors) and all(getattr(posterior, "certain", False) for posterior in posteriors)


def in_parts(measure: Callable[[Any, Values], Mapping[str, Tensor]], copies: int) -> Callable[..., dict[str, Tensor]]:
    """The same measure of a block of examples in parts, so few that so many copies of their values are held at once.

    The block is observed before it is cut, so that each example is what every other measure sees of it.
    """

    def cut(model: Any, batch: Values) -> dict[str, Tensor]:
        values = sum(value[0].numel() for value in batch.values())
        size = max(1, chunk_values(next(iter(batch.values())).device) // max(1, copies * values))
        parts = {name: value.split(size) for name, value in batch.items()}
        each = (dict(zip(parts, part, strict=True)) for part in zip(*parts.values(), strict=True))
        return joined([measure(model, part) for part in each])

    return cut


def chunk_values(device: torch.device) -> int:
    """How many values of a likelihood to hold at once on that device."""
    if device.type != "cuda":
        return _CPU_VALUES
    memory = torch.cuda.get_device_properties(device).total_memory
    return 2 ** ((memory // _BYTES_A_VALUE).bit_length() - 1)
