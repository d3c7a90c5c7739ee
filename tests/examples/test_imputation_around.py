"""`arbitrary_conditioning` that starts at a law: before it has learned anything, it says what the law says."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import imputation_around
from imputation_around import APART, Around, Asked, CellMixture, parts_of, told_by

from helpers.completing import random
from polyvae.completion.normal_mixture import ConditionedMixture

ROWS = random(40, 4).double() @ random(4, 4, seed=1).double()
LAW = ConditionedMixture.fit(ROWS, 2, 0.1)


def test_what_is_told_has_the_completions_mean_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation_around, "ALWAYS", 1e-9)
    kept = random(40, 4, seed=2) > 0
    law = CellMixture(2 * len(APART))(told_by(LAW, ROWS, kept))
    mean, std = LAW.complete(ROWS, kept)
    torch.testing.assert_close(law.mean, mean.float(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(law.stddev[~kept], std[~kept].float(), atol=1e-4, rtol=1e-3)


def test_a_decoder_that_has_learned_nothing_says_it_for_every_draw_of_z() -> None:
    kept = random(40, 4, seed=2) > 0
    told, m = told_by(LAW, ROWS, kept), torch.cat([ROWS * kept, kept], 1).float()
    net = Around(4, 2)
    z = random(3 * 40, imputation_around.LATENT)
    assert torch.equal(net(z, m, told), told.repeat(3, 1))
    torch.nn.init.normal_(net.net.layers[-1].weight)  # pyright: ignore
    with torch.no_grad():
        made, one = net(z, m, told).unflatten(0, (3, 40)), net(z[40:80], m, told)
    torch.testing.assert_close(made[1], one)
    assert float((made[0] - made[1]).abs().max()) > 1e-3


def test_what_is_asked_is_known_and_not_in_m() -> None:
    x, known = random(50, 4), (random(50, 4, seed=1) > 0).float()
    kept = known * (random(50, 4, seed=2) > 0)
    values = Asked()({"x": x * known, "known": known, "kept": kept})
    assert torch.equal(values["asked"], (known == 1) & (kept == 0))
    assert torch.equal(values["m"], torch.cat([x * kept, kept], 1))


def test_a_narrow_normal_in_the_wrong_place_costs_no_more_than_what_is_always_kept() -> None:
    """log(share) and a standard normal's density at the value, where the rest has none."""
    raw = torch.tensor([[0.0, 1.0, -20.0]])  # log weight, mean and scale of one component of one column
    law = CellMixture(1)(raw)
    told = law.log_prob(torch.tensor([[-1.0]]))
    wanted = math.log(imputation_around.ALWAYS) + torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(-1.0))
    torch.testing.assert_close(told, wanted.view(1))
    shares, mean, std = parts_of(law)
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 1))
    torch.testing.assert_close((shares * mean).sum(-1), law.mean)
    assert float(std.min()) == pytest.approx(imputation_around.FLOOR)
