"""Imputation: what a model that was trained on what is observed says of the values that are missing."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, joined, source_of
from polyvae.evaluation.bounds import certain, draws_of
from polyvae.evaluation.pictures import first_head
from polyvae.model.distributions.columns import Categories, Product
from polyvae.model.distributions.missingness import MaskLaw
from polyvae.model.laws import value_log_prob
from polyvae.model.precision import wide
from polyvae.model.presence import PRESENT
from polyvae.model.vae import VAE, Draw, Values


class Imputation(NamedTuple):
    """Examples x with values in the place of those that are missing, in the type of what was given.

    `expected`: E[x_m | x_o], of a category the most probable label. `draws`: as many as were asked for, each with the
    missing values drawn from p(x_m | x_o). `effective` [N]: the effective number of draws of z that an example's answer
    rests on, (sum w)^2 / sum w^2. What is observed stays as it is.
    """

    expected: Any
    draws: tuple[Any, ...]
    effective: Any


def imputed(
    source: Any,
    split: Split,
    samples: int = 1000,
    draws: int = 0,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """The "expected" x [N, ...] with its missing values filled in, "effective" [N], and "draws" [N, M, ...], M `draws`.

    With z_k ~ q(z | x_o) and the weights w_k = p(x_o | z_k) p(z_k) / q(z_k | x_o), E[x_m | x_o] is about sum_k w_k
    E[x_m | z_k] / sum_k w_k, and a draw of x_m is one of p(x_m | z_k) at a k drawn with a chance that is proportional
    to w_k. A model of the mask s multiplies the weight of a z_k, and of the x_m that was drawn with it, by
    p(s | x_o, x_m). Both become exact with the number K of `samples`.

    Raises ValueError for a model that was not trained on what is observed alone, and for weights that are not finite.

    Rubin: The Calculation of Posterior Distributions by Data Augmentation (comment), 1987; Mattei, Frellsen: MIWAE:
    Deep Generative Modelling and Imputation of Incomplete Data Sets, 2019.
    """
    head = imputing_head(source_of(source, "heads", "decode", what="an imputation").model)

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        return _impute(model, head, batch, samples, draws)

    return joined(each_block(source, split, measure, seed, device))


def missing_scores(
    source: Any,
    split: Split,
    truth: Tensor,
    samples: int = 1000,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Tensor:
    """log p(x_j | x_o) of every missing value x_j of `truth` [N, ...] on its own, nats; NaN where it is observed.

    The logarithm of sum_k w_k p(x_j | z_k) / sum_k w_k, with the weights of `imputed`. Raises ValueError as that, and
    for a model of the mask, under which p(x_j | x_o, s) is no such sum.
    """
    model = source_of(source, "heads", "decode", what="an imputation").model
    head = imputing_head(model)
    if len(model.heads) > 1:
        raise ValueError("a model of the mask is asked for draws: imputed(...)")
    held = Split({**split.tensors, "truth": truth.to(split.device)}, split.transform)

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        x, weights, joint = batch["truth"], [], []
        for draw in draws_of(model, batch, samples):
            law = draw.heads[head].p
            rows = x.expand(draw.log_weight.shape[0], *x.shape).flatten(0, 1)
            score = wide(value_log_prob(law, rows)).unflatten(0, (-1, len(x)))
            log_weight = _log_weight(model, draw)
            weights.append(log_weight.logsumexp(0))
            # Added as logarithms: a density below e^-745 is 0, also where it is the largest.
            joint.append((log_weight.view(*log_weight.shape, *[1] * (x.ndim - 1)) + score).logsumexp(0))
        share = torch.stack(weights).logsumexp(0)
        score = torch.stack(joint).logsumexp(0)
        return {"score": (score - _wide_as(share, score)).masked_fill(batch["seen"].bool(), torch.nan)}

    return joined(each_block(source, held, measure, seed, device))["score"]


def imputing_head(model: VAE) -> str:
    """The head that explains x by what is observed. Raises ValueError where there is none."""
    head = first_head(model)
    where = str(getattr(model.heads[head], "where", None))
    if where.endswith(PRESENT):
        raise ValueError("this model is of several modalities; what is missing of them run.translate makes")
    if where != "seen":
        raise ValueError(
            "this model explains all of x, missing or not: impute with a run of incomplete, or complete what a model "
            "that reads an observation sees in part (run.complete)"
        )
    return head


class _Weighed:
    """Self-normalised averages over draws that come in pieces."""

    def __init__(self) -> None:
        self.top: Any = -torch.inf
        self.sums: dict[str, Any] = {}

    def add(self, log_weight: Tensor, values: dict[str, Tensor]) -> None:
        """Draws with weights [k, B] and values [k, B, ...] by name."""
        top = torch.maximum(torch.as_tensor(self.top).to(log_weight), log_weight.amax(0))
        top = torch.where(top == -torch.inf, 0.0, top)
        kept, weight = (self.top - top).exp(), (log_weight - top).exp()
        sums = {"weight": weight.sum(0), "squares": weight.square().sum(0)}
        sums |= {name: torch.einsum("kb,kb...->b...", weight, wide(value)) for name, value in values.items()}
        scales = {name: kept.square() if name == "squares" else kept for name in sums}
        self.sums = {
            name: value + _wide_as(scales[name], value) * self.sums.get(name, 0.0) for name, value in sums.items()
        }
        self.top = top

    def mean(self, name: str) -> Tensor:
        return self.sums[name] / _wide_as(self.sums["weight"], self.sums[name])

    @property
    def effective(self) -> Tensor:
        return self.sums["weight"].square() / self.sums["squares"]


def _wide_as(value: Tensor, other: Tensor) -> Tensor:
    """[B] -> [B, 1 ...] of as many dimensions as another."""
    return value.view(-1, *[1] * (other.ndim - 1))


def _impute(model: VAE, head: str, batch: Values, samples: int, several: int) -> dict[str, Tensor]:
    x, seen = batch["x"], batch["seen"].bool()
    found, chosen = _Weighed(), _Chosen(several)
    coded: list[tuple[Tensor, Categories]] = []
    for draw in draws_of(model, batch, samples):
        log_weight = _log_weight(model, draw)
        law, whole = draw.heads[head].p, _completed(draw)
        coded = _codes_of(law)
        mean = law.mean if whole is None else whole
        chances = {f"codes {n}": _chances(part, place, whole) for n, (place, part) in enumerate(coded)}
        rows = {name: value.unflatten(0, (-1, len(x))) for name, value in {"x": mean, **chances}.items()}
        found.add(log_weight, rows)
        latents = {name: draw.values[name] for name in model.plan.latents} if whole is None else {"x": whole}
        chosen.add(log_weight, {name: value.unflatten(0, (-1, len(x))) for name, value in latents.items()})
    if not bool(found.effective.isfinite().all()):
        raise ValueError(
            "what is observed of an example has no finite likelihood at any draw, so that none can be weighed: look at "
            "the range of the data"
        )
    expected = found.mean("x").to(x.dtype)
    for n, (place, _) in enumerate(coded):
        expected[:, place] = found.mean(f"codes {n}").argmax(-1).to(x.dtype)  # codes have no mean
    made = {"expected": torch.where(seen, x, expected), "effective": found.effective}
    if several:
        drawn = chosen.picked.get("x")
        drawn = _redrawn(model, head, batch, chosen.picked) if drawn is None else drawn
        made["draws"] = torch.where(seen, x, drawn.to(x.dtype)).transpose(0, 1)
    return made


class _Chosen:
    """Draws taken again with chances proportional to their weights, in pieces: the largest log w + Gumbel noise."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.best: Tensor | None = None
        self.picked: dict[str, Tensor] = {}

    def add(self, log_weight: Tensor, values: dict[str, Tensor]) -> None:
        """Draws with weights [k, B] and values [k, B, ...] by name, of which `picked` holds [M, B, ...]."""
        if not self.count:
            return
        noise = torch.rand(len(log_weight), self.count, log_weight.shape[1], device=log_weight.device)
        keys = log_weight[:, None] - (-noise.to(log_weight).clamp(min=1e-30).log()).log()
        best, index = keys.max(0)
        better = torch.ones_like(best, dtype=torch.bool) if self.best is None else best > self.best
        for name, value in values.items():
            more = [1] * (value.ndim - 2)
            taken = torch.take_along_dim(value, index.view(*index.shape, *more), 0)
            held = self.picked.get(name, taken)
            self.picked[name] = torch.where(better.view(*better.shape, *more), taken, held)
        self.best = best if self.best is None else torch.maximum(best, self.best)


def _redrawn(model: VAE, head: str, batch: Values, latents: dict[str, Tensor]) -> Tensor:
    """x [M, B, ...], each value drawn from p(x | z) at the latents [M, B, ...]."""
    count = len(next(iter(latents.values())))
    others = {name: value for name, value in batch.items() if name in model.conditions}
    values = {name: value.expand(count, *value.shape).flatten(0, 1) for name, value in others.items()}
    law = model.decode({**values, **{name: value.flatten(0, 1) for name, value in latents.items()}})[head]
    return law.sample().unflatten(0, (count, -1))


def _log_weight(model: VAE, draw: Draw) -> Tensor:
    """[k, B], in double precision; of a map of codes log q = 0, whose KL is -log p."""
    return wide(draw.log_px - draw.kl if certain(model) else draw.log_weight)


def _completed(draw: Draw) -> Tensor | None:
    """x with the missing values that were drawn and weighed with z, where a model of the mask asks for them."""
    return next((head.p.completed for head in draw.heads.values() if isinstance(head.p, MaskLaw)), None)


def _codes_of(law: Distribution) -> list[tuple[Tensor, Categories]]:
    """The laws of categories among those of columns, each with its columns."""
    if isinstance(law, Categories):
        return [(torch.arange(law.event_shape[0], device=law.logits.device), law)]
    pairs = zip(law.places, law.parts, strict=True) if isinstance(law, Product) else ()
    return [(place, part) for place, part in pairs if isinstance(part, Categories)]


def _chances(law: Categories, place: Tensor, whole: Tensor | None) -> Tensor:
    """The chance of every code, [N, columns, codes]; of codes that were drawn, all on one."""
    if whole is None:
        return law.logits.exp()
    codes = law.logits.shape[-1]
    return F.one_hot(whole[:, place].long().clamp(0, codes - 1), codes)
