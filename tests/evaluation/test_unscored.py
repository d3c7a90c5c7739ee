"""Rows that a head does not score: what stands in them moves no figure of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.data.split import Split
from polyvae.model.networks import mlp

ROWS = 150


class Passed(nn.Module):
    """A module of one's own that only returns draws."""

    def __init__(self, model: pv.VAE) -> None:
        super().__init__()
        self.inner = model

    def forward(self, batch: Mapping[str, Tensor], samples: int = 1) -> pv.Draw:
        return self.inner(batch, samples)


def model(family: pv.Family) -> pv.VAE:
    torch.manual_seed(0)
    normal = pv.families.DiagonalNormal()
    q = pv.Conditional(mlp([(3,)], (4,), (8,)), normal, "u")
    p = pv.Conditional(mlp([(2,)], (1, 8, 8), (8,)), family, "z")
    return pv.VAE(q, pv.priors.StandardNormal(2), {"x": pv.Head(p, of="x", where="has")})


def report(of: nn.Module, x: Tensor, has: Tensor) -> dict[str, Any]:
    u = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(2))
    split = Split({"x": x, "u": u, "has": has})
    return pv.evaluate(of, split, samples=3, seed=1, spec=pv.Spec((1, 8, 8)))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("family", ["normal", "bernoulli"])
def test_what_stands_in_rows_that_are_not_scored_moves_no_figure(family: str, alone: bool) -> None:
    torch.manual_seed(1)
    chosen = pv.families.likelihood(family, 64)
    x, has = torch.randint(0, 256, (ROWS, 1, 8, 8)) / 255, torch.rand(ROWS) < 0.7
    if family == "bernoulli":
        x = x.round()
    vae = model(chosen)
    reports = []
    for held in (x[~has], torch.zeros(()), torch.tensor(0.123), torch.tensor(7.3), torch.tensor(math.nan)):
        filled = x.clone()
        filled[~has] = held
        reports.append(report(Passed(vae) if alone else vae, filled, has))
    assert all(each == reports[0] for each in reports)
    found = reports[0]
    assert found["dimensions"] == pytest.approx(64 * float(has.double().mean()))
    assert math.isfinite(found["bound"])
    if not alone:
        u = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(2))
        mean = vae.reconstruct({"u": u})["x"].mean.detach().clamp(0, 1)
        expected = (mean - x)[has].square().mean()
        assert found["mse"] == pytest.approx(float(expected), rel=1e-5)
        assert found == {**report(Passed(vae), x, has), **found}


def test_pictures_with_gaps_have_no_ssim_and_are_told_why() -> None:
    x, seen = torch.rand(30, 1, 8, 8), torch.ones(30, 1, 8, 8, dtype=torch.bool)
    seen[:12, :, 2:4] = False
    data = pv.data.wrap({"x": x, "seen": seen}, validation=6, test=0)
    made = pv.recipes.incomplete(data, latent=2, network="mlp", widths=(4,), samples=2, likelihood="normal")
    report = pv.evaluate(made, Split({"x": x, "seen": seen}), samples=2)
    assert report["ssim"] is None
    assert report["psnr"] > 0
    told = [note for note in report["notes"] if "SSIM" in note or "ssim" in note]
    assert len(told) == 1
    assert "neighbouring pixels, and 12 of 30 pictures lack some" in told[0]
    whole = pv.evaluate(made, Split({"x": x[12:], "seen": seen[12:]}), samples=2)
    assert -1 < whole["ssim"] < 1
