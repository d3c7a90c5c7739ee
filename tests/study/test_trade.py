"""Rate and distortion: the linear curve in closed form, recipes that are weighed, and the study from its command."""

from __future__ import annotations

import json
from itertools import pairwise
from math import log, pi
from pathlib import Path

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.cli import main
from polyvae.objectives.objective import Objective
from polyvae.study.trade.exact import linear_point
from polyvae.study.trade.study import tables
from polyvae.study.trade.weighing import weighing

VARIANCES, NOISE = [2.0, 0.9, 0.3, 0.05], 0.2
BETAS = [0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0]


def test_the_linear_curve_is_monotone_and_convex_with_the_slope_of_its_weight() -> None:
    points = [linear_point(VARIANCES, NOISE, beta) for beta in BETAS]
    assert all(after[0] <= before[0] and after[1] >= before[1] for before, after in pairwise(points))
    assert points[-1] == (0.0, pytest.approx(sum(VARIANCES) / (2 * NOISE) + 2 * log(2 * pi * NOISE)))
    for beta in (0.1, 0.7, 3.0):  # between two variances, where the curve is smooth
        (less_rate, more_left), (more_rate, less_left) = (
            linear_point(VARIANCES, NOISE, beta * (1 + side)) for side in (1e-5, -1e-5)
        )
        assert (more_left - less_left) / (less_rate - more_rate) == pytest.approx(-beta, rel=1e-3)


def cost(parameters: Tensor, beta: float, latents: int) -> tuple[Tensor, Tensor]:
    """Rate and distortion of any linear model, q(z | x) = N(A x, diag s^2), p(x | z) = N(W z, noise), on N(0, C)."""
    n = len(VARIANCES)
    encoder, decoder, spread = parameters.split([latents * n, latents * n, latents])
    a, w, s = encoder.view(latents, n), decoder.view(n, latents), spread.exp()
    c = torch.tensor(VARIANCES, dtype=torch.float64).diag()
    code = a @ c @ a.T
    rate = 0.5 * (code.diagonal() + s - 1 - spread).sum()
    rest = torch.eye(n, dtype=torch.float64) - w @ a
    error = (rest @ c @ rest.T).trace() + (w.square() @ s).sum()
    return rate, error / (2 * NOISE) + n / 2 * log(2 * pi * NOISE)


@pytest.mark.parametrize(("beta", "latents"), [(0.3, 4), (1.0, 4), (1.0, 1), (3.0, 2)])
def test_no_linear_model_that_is_searched_for_lies_below_the_closed_form(beta: float, latents: int) -> None:
    torch.manual_seed(0)
    start = 0.3 * torch.randn(2 * latents * len(VARIANCES) + latents, dtype=torch.float64)
    parameters = start.requires_grad_()
    search = torch.optim.LBFGS([parameters], max_iter=2000, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def step() -> Tensor:
        search.zero_grad()
        rate, left = cost(parameters, beta, latents)
        (left + beta * rate).backward()
        return (left + beta * rate).detach()

    search.step(step)  # pyright: ignore
    found = [float(each) for each in cost(parameters.detach(), beta, latents)]
    assert found == pytest.approx(linear_point(VARIANCES, NOISE, beta, latents), abs=1e-3)


def test_at_a_weight_of_one_the_closed_form_is_probabilistic_pca() -> None:
    """With as many latents as variances above the noise, D + R is the mean of -log p(x) under W W^T + s^2 I."""
    rate, left = linear_point(VARIANCES, NOISE, 1.0)
    c = torch.tensor(VARIANCES, dtype=torch.float64)
    model = c.clamp(min=NOISE)
    assert rate + left == pytest.approx(float(0.5 * (c / model + (2 * pi * model).log()).sum()))
    with pytest.raises(ValueError, match="positive numbers"):
        linear_point(VARIANCES, 0.0, 1.0)


def test_a_weighed_recipe_is_beta_vae_and_chooses_its_epoch_by_the_loss() -> None:
    x = {"x": torch.rand(8, 1, 8, 8)}
    small = {"network": "mlp", "widths": [8], "latent": 3, "seed": 0}
    plain, theirs = pv.recipes.vae((1, 8, 8), **small), pv.recipes.beta_vae((1, 8, 8), beta=3.0, **small)
    ours = weighing(plain, 3.0)
    losses = []
    for made in (ours, theirs):
        torch.manual_seed(1)
        losses.append(made.objective(made.model, x)["loss"])
    assert torch.equal(*losses)
    assert ours.monitor == "loss"
    assert plain.monitor == "bound"
    twice = weighing(theirs, 0.5).objective
    assert isinstance(twice, Objective)
    assert twice.terms["kl"].weight == 1.5
    parts = weighing(pv.recipes.beta_tcvae((1, 8, 8), beta=6.0, **small), 0.5).objective
    assert isinstance(parts, Objective)
    assert [each.weight for each in parts.terms.values()] == [1.0, 0.5, 3.0, 0.5]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("iwae", {}, "has no weight of a divergence"),
        ("wae", {}, "is a divergence to be weighed"),
        ("capacity_vae", {}, "a weight that moves, or a target"),
        ("beta_vae", {"kl_warmup": 10}, "a weight that moves, or a target"),
    ],
)
def test_a_recipe_without_a_weight_is_refused(name: str, options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        weighing(pv.recipes.named(name)((1, 8, 8), network="mlp", widths=[8], **options), 2.0)


SMALL = ["--epochs", "2", "--widths", "8", "--latent", "3", "--limit", "200", "--samples", "4", "--device", "cpu"]


def study(out: Path, *more: str, recipes: str = "vae:likelihood=normal as vae") -> int:
    line = ["study", "rate-distortion", "--data", "digits", "--recipes", recipes, "--binarise", "none", *SMALL]
    return main([*line, "--out", str(out), *more])


def test_a_study_draws_a_curve_goes_on_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert study(out, "--betas", "0.01,1", "--seeds", "1") == 0, capsys.readouterr().err
    assert set(tables().filled(out).rows) == {("vae beta 0.01", 0), ("vae beta 1", 0)}
    assert study(out, "--betas", "0.1,0.01,1", "--seeds", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["runs"] == 6
    assert list(found["curves"]["vae"]) == ["0.01", "0.1", "1.0"]
    row = tables().filled(out).rows["vae beta 0.1", 1]
    assert row["rate"] + row["distortion"] == pytest.approx(-row["bound"])
    assert row["importance_bound"] > row["bound"]
    text = (out / "REPORT.md").read_text(encoding="utf-8")
    assert "--betas 0.01,0.1,1" in text
    assert "The best linear model" in text
    assert (out / "report.html").read_text(encoding="utf-8").count("data:image/png") == 1
    assert study(out, "--betas", "1", "--scored", "3") == 1
    assert "scored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--betas", "0,1"], "--betas"),
        (["--betas", "1,1"], "each weight once"),
        (["--betas", "a"], "numbers and commas"),
        (["--recipes", "iwae"], "has no weight of a divergence"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(
    line: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", "rate-distortion", "--data", "digits", *SMALL, *line, "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
