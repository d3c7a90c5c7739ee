"""What scores of completions say of joint draws: the energy score, and what a classifier reads of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.completing import SHAPE, of, random, semi_conditional
from polyvae.completion.baselines import Fitted, FittedKriging, FittedNormal, FittedSeparable, Learned
from polyvae.completion.completer import Completer
from polyvae.completion.kriging import Kriging
from polyvae.completion.normal import ConditionedNormal, best_ridge
from polyvae.completion.scores import score_completions
from polyvae.data.split import Split
from polyvae.evaluation import energy_score
from polyvae.observe.masks import SparsePixels, observation


class Sign(nn.Module):
    """Gives class 1 the chance that the mean of a picture's logistic has."""

    def forward(self, x: Tensor) -> Tensor:
        level = x.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(level), level], 1)


def labelled(count: int = 30) -> Split:
    x = random(count, *SHAPE)
    return Split({"x": x, "y": (x.flatten(1).mean(1) > 0).long()})


CHOSEN: dict[int | float, SparsePixels] = {2: observation("points", positions=[(0, 0), (0, 1)])}


def chosen() -> Tensor:
    """What is seen of each picture, [1, 1, H, W]."""
    mask = torch.zeros(1, 1, *SHAPE[1:], dtype=torch.bool)
    mask[..., 0, :2] = True
    return mask


def test_the_energy_score_is_that_of_the_joint_draws_over_what_is_unseen() -> None:
    model, split = semi_conditional(), labelled()
    found = of(score_completions(model, split, CHOSEN, Completer(draws=400), seed=3)).unseen
    told = pv.complete(model, split.tensors["x"], chosen(), draws=400, seed=4, both=True)
    expected = energy_score(told.draws, split.tensors["x"], ~chosen()).mean()
    assert found.energy == pytest.approx(float(expected), rel=0.01)
    alone = energy_score(told.samples, split.tensors["x"], ~chosen()).mean()  # without the likelihood's noise
    assert abs(float(alone - expected)) > 0.02 * float(expected)


def fields(count: int, seed: int) -> Tensor:
    """Colours [count, 2, 4, 4] whose values belong together."""
    codes, shapes = random(count, 3, seed=seed), random(3, 32, seed=9)
    return (codes @ shapes + 0.3 * random(count, 32, seed=seed + 1)).view(count, 2, 4, 4)


LAWS: dict[str, Callable[[Tensor], Fitted]] = {
    "normal law": lambda x: FittedNormal(ConditionedNormal.fit(x)),
    "separable normal law": FittedSeparable.fit,
    "kriging": lambda x: FittedKriging(Kriging.fit(x)),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_that_state_a_spread_draw_jointly_what_they_state(name: str) -> None:
    x, seen = fields(60, 1), torch.zeros(60, 1, 4, 4)
    seen[:, :, ::2] = 1
    found = LAWS[name](fields(80, 3)).at({"x": fields(50, 5), "seen": seen[:50]})
    assert found is not None
    assert found.name == name
    made = found.complete(x, seen)
    assert made.std is not None
    assert found.draw is not None
    draws = found.draw(x, seen, 2000, 0)
    assert bool(((draws.mean(0) - made.mean).abs() <= 6 / 2000**0.5 * made.std + 1e-4).all())
    torch.testing.assert_close(draws.std(0), made.std, atol=0.1, rtol=0)
    before = torch.get_rng_state()
    assert torch.equal(found.draw(x, seen, 3, 7), found.draw(x, seen, 3, 7))
    assert torch.equal(torch.get_rng_state(), before)
    whole = {rows.start: part for rows, part in found.drawn(replace(made, limits=(-1.0, 1.0)), x, seen)}
    assert float(torch.cat(list(whole.values()), 1).abs().max()) == 1


def test_the_energy_score_of_laws_is_that_of_draws_that_belong_together() -> None:
    split, learned = Split({"x": fields(60, 1)}), Learned(Split({"x": fields(80, 3)}), Split({"x": fields(50, 5)}))
    mask: dict[int | float, SparsePixels] = {1: observation("points", positions=[(1, 2)])}  # leaves much open
    model = pv.recipes.arbitrary_conditioning(pv.Spec((2, 4, 4), levels=None), network="mlp", widths=(4,), latent=2)
    scores = {each.method: each for each in score_completions(model, split, mask, Completer(draws=5), learned)}
    by_method = {method: score.unseen.energy for method, score in scores.items() if score.unseen.energy is not None}
    assert {"model", "normal law", "separable normal law", "kriging", "normal mixture"} == by_method.keys()
    law = ConditionedNormal.fit(fields(80, 3))
    seen = mask[1].mask(fields(60, 1))
    best = best_ridge(law, fields(50, 5), seen[:50].float())
    x = fields(60, 1).double()
    expected = float(energy_score(best.draw(x, seen, 2000), x, seen == 0).mean())
    assert by_method["normal law"] == pytest.approx(expected, rel=0.03)
    mean, std = best.complete(x, seen)
    apart = float(energy_score(mean + std * torch.randn(2000, *x.shape), x, seen == 0).mean())
    assert apart > 1.05 * expected  # draws of single values are told from these


def test_a_classifier_reads_what_was_completed() -> None:
    model, split = semi_conditional(), labelled()
    x = split.tensors["x"]
    found = of(score_completions(model, split, CHOSEN, seed=3, classifier=Sign())).unseen
    assert found.class_loss is not None
    told = pv.complete(model, x, chosen(), draws=100, seed=3)
    pictures = torch.where(chosen(), x, told.samples)
    chance = Sign()(pictures.flatten(0, 1)).softmax(1).unflatten(0, (100, 30)).mean(0)
    expected = -chance[torch.arange(30), split.tensors["y"]].log().mean()
    assert found.class_loss == pytest.approx(float(expected), abs=0.02)
    assert found.class_loss < math.log(2)
    assert of(score_completions(model, split, CHOSEN)).unseen.class_loss is None
    with pytest.raises(ValueError, match="judges pictures with labels, and these data have none"):
        score_completions(model, Split({"x": x}), CHOSEN, classifier=Sign())
