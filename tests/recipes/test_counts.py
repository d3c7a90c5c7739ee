"""Models of counts: library sizes, every axis beside them, and a table on which they must beat a linear model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

import polyvae as pv
from polyvae.data import wrap
from polyvae.evaluation import both_bounds
from polyvae.model.networks.library import LogNormalSize, Shares, SizeEncoder
from polyvae.recipes.library_size import LIBRARIES

by_library = pytest.mark.parametrize("library", LIBRARIES)
SPEC = pv.Spec((5,), classes=2, levels=None)


def table(count: int = 24, columns: int = 5, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rate = torch.rand(count, columns, generator=generator) * torch.tensor([1.0, 5.0, 20.0, 0.2, 60.0])[:columns]
    return {"x": torch.poisson(rate, generator=generator), "y": torch.arange(count) % 2}


def small(**options: Any) -> pv.Recipe:
    made = pv.recipes.count_vae(SPEC, **{"latent": 2, "widths": (8,), "seed": 1, **options})
    if made.start is not None:
        made.start(made.observe(table()))
    return made


def check(made: pv.Recipe) -> None:
    """A finite loss whose gradient reaches every parameter, K samples, counts out."""
    batch = made.observe(table())
    loss = made.objective(made.model, batch)["loss"]
    loss.backward()
    assert loss.isfinite()
    for name, parameter in made.model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    draw = made.model.eval()(batch, 3)
    assert draw.log_weight.shape == (3, 24)
    assert draw.log_weight.isfinite().all()
    drawn = made.model.generate({name: batch[name] for name in made.model.conditions})["x"].sample()
    assert (drawn == drawn.round()).all()
    assert (drawn >= 0).all()


@by_library
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"likelihood": "poisson"},
        {"likelihood": "negative-binomial-network", "posterior": "full"},
        {"prior": "mixture", "components": 3, "objective": pv.ImportanceWeighted(4)},
        {"condition": True, "prior": "conditional"},
        {"prior": "vamp", "components": 3, "condition": True},
        {"objective": pv.Objective({"reconstruction": pv.terms.Reconstruction(), "kl": pv.terms.KL(free_bits=0.5)})},
        {"widths": (), "likelihood": pv.families.Poisson(start=[1.0, 2.0, 10.0, 0.1, 30.0])},
    ],
    ids=["plain", "poisson", "full", "iwae-mixture", "cvae", "vamp-cvae", "free-bits", "linear"],
)
def test_every_axis_goes_with_every_library(library, options) -> None:
    check(small(library=library, **options))


@pytest.mark.parametrize(
    "name", ["iwae", "mixture_prior", "full_covariance", "cvae", "beta_vae", "mmd_vae", "two_level"]
)
def test_counts_are_a_likelihood_like_others(name) -> None:
    library = {} if name == "two_level" else {"library": "observed"}
    spec = pv.Spec((5,), classes=2, levels=None, columns=(pv.Column("counts", centre=1.0),) * 5)
    check(pv.recipes.named(name)(spec, network="mlp", likelihood="negative-binomial", latent=2, seed=1, **library))


@pytest.mark.parametrize("name", ["semi_conditional", "multitask", "arbitrary_conditioning"])
def test_counts_are_completed_from_a_few_of_them(name) -> None:
    spec = pv.Spec((5,), levels=None, columns=(pv.Column("counts", centre=1.0),) * 5)
    made = pv.recipes.named(name)(spec, network="mlp", likelihood="negative-binomial", latent=2, seed=1)
    made.objective(made.model, made.observe(table()))["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.model.parameters())


def test_means_are_shares_of_the_observed_total() -> None:
    made = small(likelihood="negative-binomial")
    batch = made.observe(table())
    assert torch.equal(batch["library"], batch["x"].sum(1, keepdim=True))
    for law in (made.model.reconstruct(batch)["x"], made.model(batch, 3).heads["x"].p):
        totals = law.mean.sum(1).view(-1, 24)
        torch.testing.assert_close(totals, batch["library"].T.expand_as(totals))
    assert made.model.bounded_given == ("library",)
    assert made.model.conditions == ("library",)


def test_an_example_of_nothing_is_scored_too() -> None:
    made = small()
    batch = made.observe({"x": torch.zeros(3, 5)})
    assert made.model(batch, 2).log_px.isfinite().all()


def test_a_start_is_also_that_of_the_shares() -> None:
    start = torch.tensor([1.0, 2.0, 10.0, 0.1, 30.0])
    family = pv.families.Poisson(start=start.tolist(), spread=[0.01, 1.0, 2.0, 0.5, 1.0])
    link = family.link
    net = Shares(lambda z: torch.zeros(len(z), 5), 5, torch.nn.Identity(), link.log_start, link.spread)  # pyright: ignore
    mean = family(net(torch.zeros(4, 2), torch.tensor([[1.0], [10.0], [100.0], [1000.0]]).log())).mean
    torch.testing.assert_close(mean, start / start.sum() * torch.tensor([[1.0], [10.0], [100.0], [1000.0]]))


def test_a_latent_library_is_log_normal_with_the_moments_of_the_totals() -> None:
    made, x = small(library="latent", likelihood="negative-binomial"), table()["x"]
    logs = x.sum(1).log()
    size = next(module for module in made.model.modules() if isinstance(module, LogNormalSize))
    torch.testing.assert_close(size.centre, logs.mean())
    torch.testing.assert_close(size.scale, logs.std(correction=0))
    assert list(made.model.prior) == ["z", "l"]
    assert made.model.bounded_given == ()
    assert made.model.inputs == ("x",)
    totals = made.model.generate(count=4000)["x"].mean.sum(1).log()
    torch.testing.assert_close(totals.mean(), logs.mean(), atol=0.06, rtol=0)
    torch.testing.assert_close(totals.std(), logs.std(correction=0), atol=0.06, rtol=0)
    draw = made.model(made.observe(table()), 1)
    kl = kl_divergence(draw.latents["l"].q, draw.latents["l"].p)
    torch.testing.assert_close(draw.kl[0], draw.latents["z"].kl[0] + kl)


def test_the_guess_of_a_latent_library_starts_at_the_total() -> None:
    made = small(library="latent")
    net: Any = made.model.posterior["l"].net
    assert isinstance(net, SizeEncoder)
    for parameter in net.net.parameters():
        torch.nn.init.zeros_(parameter)
    x = table()["x"]
    guess = made.model.encode({"x": x})["l"].mean
    torch.testing.assert_close(net.size(guess).exp(), x.sum(1, keepdim=True))


def test_moments_of_the_library_survive_saving(tmp_path) -> None:
    x = torch.poisson(torch.full((40, 5), 30.0), generator=torch.Generator().manual_seed(0))
    made = pv.recipes.count_vae(SPEC, library="latent", latent=2, widths=(4,), seed=0)
    run = pv.fit(made, wrap((x, torch.arange(40) % 2), validation=8), tmp_path / "run", epochs=1, progress=False)
    again = pv.Run.load(tmp_path / "run")
    sizes = [next(m for m in r.model.modules() if isinstance(m, LogNormalSize)) for r in (run, again)]
    assert sizes[0].centre == sizes[1].centre
    assert abs(sizes[0].centre.item() - torch.tensor(150.0).log().item()) < 0.1


def test_a_library_needs_counts() -> None:
    with pytest.raises(
        ValueError, match=r"library: its size scales counts, of which the likelihoods are poisson, .* got PixelNormal"
    ):
        pv.recipes.vae((5,), network="mlp", likelihood="normal", library="observed")
    with pytest.raises(ValueError, match="library is one of none, observed, latent; got 'total'"):
        pv.recipes.count_vae((5,), library="total")


def test_evaluation_says_that_the_bound_is_given_the_library() -> None:
    made = small()
    data = wrap((table()["x"], table()["y"]), validation=4)
    report = pv.evaluate(made, data.validation, samples=5)
    assert report["given"] == ["library"]
    assert report["bound"] <= report["importance_bound"]


def test_counts_beat_probabilistic_pca_on_their_own_table() -> None:
    """3,000 x 60 Poisson counts of three factors: -125 nats a row here, where a normal law of counts has -165."""
    torch.manual_seed(0)
    z, weight = torch.randn(3000, 3), 0.5 * torch.randn(3, 60)
    x = torch.poisson((1.0 + 0.5 * torch.randn(60) + z @ weight).exp())
    data = wrap(x, validation=300, seed=0)
    linear = pv.fit(pv.recipes.ppca(data, latent=3), data, device="cpu", progress=False)
    made = pv.recipes.count_vae(data, library="none", likelihood="poisson", latent=3, widths=(64,), seed=0)
    run = pv.fit(made, data, epochs=8, lr=3e-3, device="cpu", progress=False)
    bounds = [float(both_bounds(r.recipe, data.validation, samples=20).plain.mean()) for r in (linear, run)]
    assert bounds[1] > bounds[0] + 35
