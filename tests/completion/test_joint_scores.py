"""What scores of completions say of joint draws: the energy score, and what a classifier reads of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.completing import SHAPE, of, random, semi_conditional
from polyvae.completion.completer import Completer
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
