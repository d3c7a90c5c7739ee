"""`arbitrary_conditioning` for tables with gaps, whose decoder starts at what a mixture of normals says of a row.

m is a part of what is seen of a row, and the rest of what is seen is asked for, log p(x_asked | m): of a row with gaps
of its own less is asked. The laws that the decoder starts from are fitted by EM with a fifth of the rows left out each,
and complete these, since a law errs less on the rows that it was fitted to than on others. What is filled in at the end
starts from each of these five in its turn, and from no law of all rows: EM may end at another optimum for that, such
as one whose components are not those of a column's two values, and what was learned of the five is wrong of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log, log1p

import numpy as np
import torch
from imputation_columns import Coordinates
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

import polyvae as pv
from polyvae.completion.normal_mixture import ConditionedMixture
from polyvae.model.laws import value_log_prob
from polyvae.model.networks import mlp
from polyvae.model.vae import VAE, Conditional, Family, Head
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.observe.masks import sparse

Fit = Callable[[Tensor, Tensor], ConditionedMixture]

FOLDS, MASKS = 5, 40  # of the rows, each left out by one law; of m, for each row
HELD = 0.15  # of the rows: the validation part, which chooses the epoch
LATENT, WIDTH, SAMPLES, BATCH = 4, 32, 10, 128
RATE, DECAY = 3e-3, 0.1
FLOOR = 0.005  # of a standard deviation: the smallest scale
ALWAYS = 0.01  # of every value's law: the standard normal
PASS = 40  # draws of z at once
APART = (-0.5, 0.0, 0.5)  # where copies of each component start, in its standard deviations


class CellMixture(Family):
    """Every value has a mixture of normals of its own; raw [B, 3 K d] holds log weights, means and log scales.

    A share `ALWAYS` of it is a standard normal, the law of a standardised column of which nothing is known: no value
    is ever impossible, as one of two values would be where a narrow normal was put to the other.

    Hesterberg: Weighted Average Importance Sampling and Defensive Mixture Distributions, 1995.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def size(self, features: int) -> int:
        return 3 * self.components * features

    def forward(self, raw: Tensor) -> Distribution:
        weights, mean, scale = raw.unflatten(1, (3, -1, self.components)).unbind(1)
        wide = (log(ALWAYS), 0.0, 1.0)
        found = (weights.log_softmax(-1) + log1p(-ALWAYS), mean, FLOOR + F.softplus(scale))
        weights, mean, scale = (F.pad(each, (0, 1), value=one) for each, one in zip(found, wide, strict=True))
        cells = Normal(mean, scale, validate_args=False)
        mixed = MixtureSameFamily(Categorical(logits=weights, validate_args=False), cells, validate_args=False)
        return Independent(mixed, 1, validate_args=False)


def parts_of(law: Distribution) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, means and standard deviations of the normals of every value, [B, d, K + 1] each."""
    assert isinstance(law, Independent)
    mixed = law.base_dist
    assert isinstance(mixed, MixtureSameFamily)
    cells = mixed.component_distribution
    return mixed.mixture_distribution.probs, cells.mean, cells.stddev


class Around(nn.Module):
    """(z, m, told) -> told, the raw numbers of a law's completion of m, and what a perceptron adds to them.

    It adds the same to the copies of all components: a log weight, a shift of the mean and of the raw scale, for each
    value and copy. It reads z, m and the completion's mean, and starts at zero.
    """

    shared = (1, 2)  # n rows of these stand beside k n of z

    def __init__(self, columns: int, components: int) -> None:
        super().__init__()
        self.components, copies = components, len(APART)
        self.net = mlp([(LATENT,), (2 * columns,), (columns,)], (3, columns, copies), (WIDTH,), nn.SiLU)
        last = self.net.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor, m: Tensor, told: Tensor) -> Tensor:
        count, numbers = len(z) // len(m), told.unflatten(1, (3, -1, len(APART), self.components))
        mean = (numbers[:, 0].flatten(2).softmax(2) * numbers[:, 1].flatten(2)).sum(2)
        added = self.net(z, m.repeat(count, 1), mean.repeat(count, 1)).unsqueeze(-1)
        return (numbers.repeat(count, 1, 1, 1, 1) + added).flatten(1)


@dataclass(frozen=True)
class Asked:
    """A batch transform: m = (x * kept, kept), and `asked`: what is known and not kept."""

    def __call__(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        known, kept = values["known"] > 0, values["kept"] > 0
        return {**values, "m": sparse(values["x"], kept), "asked": known & ~kept}


def told_by(law: ConditionedMixture, x: Tensor, kept: Tensor) -> Tensor:
    """The raw numbers of `CellMixture` of a law's completion, float32 [N, 3 K d]; what is kept has its own value."""
    found = [part.complete(x, kept) for part in law.parts]
    mean, std = (torch.stack(each, -1) for each in zip(*found, strict=True))
    apart = torch.tensor(APART, dtype=x.dtype)
    within = (1 - apart.square().mean()).sqrt()  # so that copies together have the component's own variance
    weights = law.log_shares(x, kept).unsqueeze(1).expand_as(mean)
    parts = [(weights, mean + shift * std, within * std) for shift in apart]
    weights, mean, std = (torch.cat(each, -1) for each in zip(*parts, strict=True))
    scale = (std - FLOOR).clamp(min=FLOOR / 10)
    raw = torch.stack([weights.clamp(min=-20), mean, scale + (-(-scale).expm1()).log()], 1)
    return raw.flatten(1).float()


def conditioned(
    x: np.ndarray,
    hidden: np.ndarray,
    seed: int,
    coordinates: Coordinates,
    fit: Fit,
    steps: int = 600,
    samples: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    """What a run fills in, and its log density of every hidden cell; `fit(y, seen)` is the law of some rows."""
    stream, seen = np.random.default_rng([seed, 3]), torch.from_numpy(~hidden)
    y = torch.from_numpy(coordinates.of(x))
    rows = torch.where(seen, y, 0.0)
    fold = torch.from_numpy(stream.permutation(len(x)) % FOLDS)
    # As many are hidden from m, of what is seen, as are hidden of the row, on average.
    chance = 2 * hidden.mean() * stream.random((MASKS, len(x), 1))
    kept = seen & torch.from_numpy(stream.random((MASKS, *x.shape)) >= chance)
    laws = [fit(rows[fold != number], seen[fold != number]) for number in range(FOLDS)]
    told = torch.empty(MASKS, len(x), 3 * len(APART) * len(laws[0].parts) * x.shape[1])
    for number, law in enumerate(laws):
        out = fold == number
        found = told_by(law, rows[out].repeat(MASKS, 1), kept[:, out].flatten(0, 1))
        told[:, out] = found.unflatten(0, (MASKS, -1))
    pairs = {"x": rows.float().expand(MASKS, *x.shape), "known": seen.float().expand(MASKS, *x.shape)}
    pairs |= {"kept": kept.float(), "told": told}
    held = torch.from_numpy(stream.permutation(len(x)) < HELD * len(x))
    parts = [{name: value[:, some].flatten(0, 1) for name, value in pairs.items()} for some in (~held, held)]
    beside = ["known", "kept", "told"]
    data = pv.data.wrap(parts[0], validation=parts[1], test=0, kind="real", beside=beside)
    run = pv.fit(
        _recipe(data.spec, len(laws[0].parts) * len(APART), seed),
        data,
        epochs=max(1, steps * BATCH // len(data.train)),
        batch_size=BATCH,
        optimizer=partial(torch.optim.AdamW, lr=RATE, weight_decay=DECAY),
        schedule="cosine",
        average=0.99,
        device="cpu",
        progress=False,
        seed=seed,
    )
    with torch.no_grad():
        tolds = [told_by(law, rows, seen) for law in laws]
        score, mean = _cells(run.model, rows, seen, tolds, y, coordinates, samples, seed)
    filled = x.copy()
    filled[hidden] = mean
    return filled, score.numpy() + coordinates.log_slope(x)


def _recipe(spec: pv.Spec, components: int, seed: int) -> pv.recipes.Recipe:
    """`arbitrary_conditioning` with another decoder, which is asked for what is seen and not in m."""
    recipe = pv.recipes.arbitrary_conditioning(
        spec,
        latent=LATENT,
        network="mlp-tanh",
        widths=(WIDTH,),
        decoder="flat",
        seed=seed,
        objective=ImportanceWeighted(SAMPLES),
    )
    family = CellMixture(components)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = Conditional(Around(spec.x[0], components // len(APART)), family, ("z", "m", "told"))
    model = VAE(recipe.model.posterior, recipe.model.prior, {"x": Head(decoder, where="asked")})
    return replace(recipe, model=model, observe=Asked(), start=None, call=None)


def _cells(
    model: VAE,
    rows: Tensor,
    seen: Tensor,
    tolds: Sequence[Tensor],
    truth: Tensor,
    coordinates: Coordinates,
    samples: int,
    seed: int,
) -> tuple[Tensor, np.ndarray]:
    """log p(y | m) of every cell [N, d], and E[x | m] of those that are not seen."""
    torch.manual_seed(seed)
    model.eval()
    m, gaps = sparse(rows.float(), seen), ~seen
    own, means, scores = coordinates.at(gaps.nonzero()[:, 1].numpy()), [], []
    for number in range(max(len(tolds), samples // PASS)):
        given = {"m": m, "told": tolds[number % len(tolds)]}
        z = model.prior["z"](given).sample((PASS,)).flatten(0, 1)
        law = model.heads["x"]({"z": z, **given})
        scores.append(value_log_prob(law, truth.float().repeat(PASS, 1)).unflatten(0, (PASS, -1)).double())
        # [pass N, d, K] -> [pass K, unseen]
        shares, mean, std = (
            each.unflatten(0, (PASS, -1))[:, gaps].movedim(2, 1).flatten(0, 1).double().numpy()
            for each in parts_of(law)
        )
        means.append(own.expected(shares / PASS, mean, std))
    score = torch.cat(scores)
    return score.logsumexp(0) - np.log(len(score)), np.mean(means, 0)
