"""What every family promises: shapes, densities that integrate to one, precision, devices, saving."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Normal, constraints, kl_divergence

from polyvae.model import families
from polyvae.model.families.named import LIKELIHOODS, POSTERIORS, likelihood, posterior
from polyvae.model.laws import drawn
from polyvae.model.vae import Family

# What each family scores is either a density over the line or a probability over a few grey levels.
DENSITIES = {
    "diagonal": families.DiagonalNormal,
    "full": families.FullNormal,
    "low-rank": families.LowRankNormal,
    "mixture": families.MixtureNormal,
    **{f"normal {s}": lambda s=s: families.PixelNormal(s) for s in (0.3, "learned", "network", "optimal")},
    **{f"laplace {s}": lambda s=s: families.Laplace(s) for s in (0.3, "learned", "network")},
    **{f"student-t {s}": lambda s=s: families.StudentT(s) for s in (0.3, "learned", "network")},
    "low-rank residuals": lambda: families.LowRankResiduals(2),
    **{f"structured {n}": lambda n=n: families.StructuredNormal(n) for n in (0, 1)},
}
PROBABILITIES = {
    "bernoulli": (families.Bernoulli, 2),
    **{f"logistic {n}": (lambda n=n: families.DiscretisedLogistic(n), n) for n in (2, 7, 256)},
    **{f"mixture {n}": (lambda n=n: families.DiscretisedLogisticMixture(4, n), n) for n in (2, 7, 256)},
    **{f"coupled {n}": (lambda n=n: families.CoupledLogisticMixture(4, n), n) for n in (2, 7, 256)},
    **{f"piecewise linear {n}": (lambda n=n: families.PiecewiseLinear(6, n), n) for n in (2, 7, 256)},
    **{f"categorical {n}": (lambda n=n: families.Categorical(n), n) for n in (2, 7)},
}
UNIT = {"continuous bernoulli": families.ContinuousBernoulli}  # densities over [0, 1]
MAKERS: dict[str, Callable[[], Family]] = {
    **DENSITIES,
    **UNIT,
    **{name: make for name, (make, _) in PROBABILITIES.items()},
    **families.COUNTS,
    "point": families.Point,
}
VECTORS = ("full", "low-rank", "mixture")  # whose event is a vector
by_name = pytest.mark.parametrize("name", MAKERS)


def raw_for(family: Family, features: int, *rest: int, rows: int = 3) -> Tensor:
    return torch.randn(rows, family.size(features), *rest)


@by_name
@settings(max_examples=8, deadline=None)
@given(features=st.integers(1, 4), rest=st.sampled_from([(), (3,), (2, 5)]), rows=st.integers(1, 3))
def test_shapes_are_those_promised(name, features, rest, rows) -> None:
    family = MAKERS[name]()
    rest = () if name in VECTORS else rest
    raw = raw_for(family, features, *rest, rows=rows)
    law = family(raw)
    event = (features, *rest)
    assert law.batch_shape == (rows,)
    assert law.event_shape == event
    assert law.mean.shape == (rows, *event)
    draws = law.rsample if law.has_rsample else law.sample
    assert draws().shape == (rows, *event)
    x = draws((4,))
    assert x.shape == (4, rows, *event)
    assert law.log_prob(x).shape == (4, rows)
    assert law.support.is_discrete is (name in PROBABILITIES or name in families.COUNTS)
    if law.support.is_discrete:
        assert law.support.check(x).all()
    if name in families.COUNTS:
        assert law.variance.shape == (rows, *event)
        assert law.support.base_constraint is constraints.nonnegative_integer
        assert not law.support.check(x + 0.5).any()
        assert not law.support.check(x - 1 - x.max()).any()
    assert law.has_rsample is not law.support.is_discrete
    assert not law._validate_args


@by_name
def test_each_row_is_scored_on_its_own(name) -> None:
    family = MAKERS[name]().eval()
    raw = raw_for(family, 2, rows=5)
    x = family(raw).sample()
    torch.testing.assert_close(family(raw[1:3]).log_prob(x[1:3]), family(raw).log_prob(x)[1:3])


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_integrate_to_one(name) -> None:
    torch.manual_seed(0)
    family = DENSITIES[name]().double().eval()
    raw = raw_for(family, 1, rows=4).double()
    x = torch.linspace(-60, 60, 480_001, dtype=torch.float64)
    density = family(raw).log_prob(x[:, None, None].expand(-1, 4, 1)).exp()
    torch.testing.assert_close(torch.trapezoid(density, x, dim=0), torch.ones(4).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities_sum_to_one_over_all_pictures(name) -> None:
    """Edge bins included: without them a discretised logistic does not sum to one."""
    make, levels = PROBABILITIES[name]
    family = make().double()
    grid = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    pixels = 1 if levels > 16 else 2
    every = torch.cartesian_prod(*[grid] * pixels).view(-1, 1, 1, pixels)
    law = family(2 * raw_for(family, 1, 1, pixels).double())
    probability = law.log_prob(every.unsqueeze(1).expand(-1, 3, 1, 1, pixels)).exp()
    torch.testing.assert_close(probability.sum(0), torch.ones(3).double())
    mean = (probability[..., None, None, None] * every.unsqueeze(1)).sum(0)
    torch.testing.assert_close(law.mean, mean, atol=0.5 / 255 if levels > 32 else 1e-9, rtol=0)


@pytest.mark.parametrize("name", sorted((DENSITIES.keys() | UNIT.keys() | PROBABILITIES.keys()) - {"full"}))
@pytest.mark.parametrize("extreme", [-50.0, 0.0, 50.0])
def test_gradients_are_finite_at_extremes(name, extreme) -> None:
    family = MAKERS[name]()
    raw = torch.full((3, family.size(4)), extreme, requires_grad=True)
    for x in (torch.zeros(3, 4), torch.ones(3, 4)):
        score = family(raw).log_prob(x)
        (gradient,) = torch.autograd.grad(score.sum(), raw)
        assert score.isfinite().all()
        assert gradient.isfinite().all()


@by_name
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_networks_are_scored_in_single(name, half) -> None:
    family = MAKERS[name]()
    law = family(raw_for(family, 3).to(half))
    assert law.mean.dtype == torch.float32
    assert law.log_prob(law.sample()).dtype == torch.float32
    assert family.double()(raw_for(family, 3).double()).mean.dtype == torch.float64


@by_name
def test_autocast_leaves_draws_and_scores_alone(name) -> None:
    family = MAKERS[name]().eval()
    raw, results = raw_for(family, 3), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            law = family(raw)
            x = law.sample()
            results.append((x, law.log_prob(x)))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", ["diagonal", *VECTORS])
@pytest.mark.parametrize("extreme", [-50.0, 0.0, 50.0])
def test_posterior_gradients_are_finite_at_extremes(name, extreme) -> None:
    """At its own draws and in the divergence, which is what training reads."""
    family = MAKERS[name]()
    raw = torch.full((3, family.size(6)), extreme, requires_grad=True)
    q = family(raw)
    z, log_q = drawn(q, (2,))
    log_q = q.log_prob(z) if log_q is None else log_q  # as a pass asks for it
    prior = Independent(Normal(torch.zeros(6), torch.ones(6)), 1)
    closed = [] if name == "mixture" else [kl_divergence(q, prior)]
    for score in (log_q - prior.log_prob(z), *closed):
        (gradient,) = torch.autograd.grad(score.sum(), raw, retain_graph=True)
        assert score.isfinite().all()
        assert gradient.isfinite().all()


def test_diagonal_normal_starts_at_one_and_keeps_its_floor() -> None:
    family = families.DiagonalNormal(floor=0.01).double()
    scale = family(torch.tensor([[0, 0, 0, -50.0]], dtype=torch.float64)).base_dist.scale
    torch.testing.assert_close(scale, torch.tensor([[1, 0.01]], dtype=torch.float64))


def test_full_normal_with_a_diagonal_factor_is_the_diagonal_normal() -> None:
    raw = torch.randn(5, 8, dtype=torch.float64)
    diagonal = families.DiagonalNormal()(raw)
    full = families.FullNormal()(torch.cat([raw, torch.zeros(5, 6)], 1))
    torch.manual_seed(0)
    z = diagonal.rsample((3,))
    torch.manual_seed(0)
    assert torch.equal(full.rsample((3,)), z)
    torch.testing.assert_close(full.log_prob(z), diagonal.log_prob(z))
    prior = Independent(Normal(torch.zeros(4).double(), torch.ones(4).double()), 1)
    torch.testing.assert_close(kl_divergence(full, prior), kl_divergence(diagonal, prior))
    torch.testing.assert_close(kl_divergence(full, diagonal), torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("features", range(1, 20))
def test_full_normal_reads_its_dimension_off_the_raw_size(features) -> None:
    family = families.FullNormal()
    law = family(torch.randn(2, family.size(features)))
    assert law.event_shape == (features,)
    assert (law.scale_tril.triu(1) == 0).all()


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 4), (2, 1)])
def test_full_normal_refuses_other_sizes(shape) -> None:
    with pytest.raises(ValueError, match="full covariance"):
        families.FullNormal()(torch.randn(shape))


def test_mixture_of_one_is_the_logistic_around_the_middle() -> None:
    raw = torch.randn(3, 4, 5, dtype=torch.float64)
    mixture = families.DiscretisedLogisticMixture(1, 16).double()
    x = torch.randint(16, (3, 2, 5)) / 15.0
    single = families.DiscretisedLogistic(16)(torch.cat([raw[:, :2] + 0.5, raw[:, 2:]], 1))
    with_weight = torch.cat([torch.randn(3, 2, 5), raw], 1)
    torch.testing.assert_close(mixture(with_weight).log_prob(x), single.log_prob(x))


def test_mixture_components_start_apart() -> None:
    law = families.DiscretisedLogisticMixture(4)(torch.zeros(1, 12))
    locs = law.base_dist.component_distribution.loc.flatten()
    torch.testing.assert_close(locs, torch.tensor([0.125, 0.375, 0.625, 0.875]))


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"full"}))  # autocast, which it switches off, has no meta device
def test_nothing_waits_for_the_device(name) -> None:
    """A tensor without data cannot be read, so whatever would read a device's memory fails here."""
    family = MAKERS[name]()
    size = family.size(4)
    law = family.to("meta")(torch.empty(3, size, device="meta"))
    x = law.rsample((2,)) if law.has_rsample else law.sample((2,))
    assert law.log_prob(x).shape == (2, 3)
    assert law.log_prob(torch.empty(3, 4, device="meta")).shape == (3,)
    assert law.mean.shape == (3, 4)


@by_name
def test_a_family_survives_saving(name) -> None:
    family, other = MAKERS[name](), MAKERS[name]()
    raw = raw_for(family, 2)
    other.size(2)
    for parameter in family.parameters():
        torch.nn.init.normal_(parameter)
    x = family(raw).sample()
    family(raw).log_prob(x)
    other.load_state_dict(family.state_dict())
    assert torch.equal(other.eval()(raw).log_prob(x), family.eval()(raw).log_prob(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *[(lambda s=s: families.PixelNormal(s), "scale") for s in (0, -1.0, math.inf, math.nan, "shared")],
        *[(lambda s=s: families.Laplace(s), "scale") for s in (0, "optimal")],
        (lambda: families.DiscretisedLogistic(1), "levels"),
        (lambda: families.DiscretisedLogisticMixture(5, 1), "levels"),
        (lambda: families.DiscretisedLogisticMixture(0), "components"),
        (lambda: families.Categorical(1), "levels"),
        (lambda: families.DiagonalNormal(0.0), "floor"),
        (lambda: families.FullNormal(1.0), "floor"),
        (lambda: families.LowRankNormal(0), "rank"),
        (lambda: families.MixtureNormal(0), "components"),
    ],
)
def test_bad_arguments_are_refused_at_once(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_catalogue_makes_every_name() -> None:
    assert {type(posterior(name)) for name in POSTERIORS} == {
        families.DiagonalNormal,
        families.FullNormal,
        families.LowRankNormal,
        families.MixtureNormal,
        families.InverseAutoregressive,
        families.Point,
    }
    assert posterior("iaf", 7).size(7) == 2 * 7 + 32
    assert set(families.COUNTS) <= set(LIKELIHOODS)
    for name in families.COUNTS:
        family = likelihood(name, None)
        assert family(raw_for(family, 3)).event_shape == (3,)
    for name in LIKELIHOODS:
        family = likelihood(name, 8)
        law = family(raw_for(family, 2, 3, 3))
        assert law.event_shape == (2, 3, 3)
    assert likelihood("normal", None).size(4) == 4


def test_the_catalogue_lists_what_it_knows() -> None:
    with pytest.raises(ValueError, match=r"posterior is one of diagonal, full, low-rank, mixture, .*; got 'diag'"):
        posterior("diag")
    with pytest.raises(ValueError, match=r"likelihood is one of bernoulli, continuous-bernoulli, normal"):
        likelihood("gaussian")
    with pytest.raises(ValueError, match="scale is one of learned, network, optimal, or a positive number"):
        families.PixelNormal("shared")
    with pytest.raises(ValueError, match="grey levels"):
        likelihood("logistic", None)


@pytest.mark.parametrize(
    "name", ["bernoulli", "logistic", "normal", "normal-learned", "normal-network", "normal-optimal"]
)
@given(mean=st.floats(0.35, 0.65), std=st.floats(0.02, 0.08))
def test_a_law_around_a_mean_and_a_spread_has_them(name: str, mean: float, std: float) -> None:
    family = likelihood(name, 256, (2, 3, 3)).eval()
    means, stds = (torch.full((4, 2, 3, 3), value, dtype=torch.float64) for value in (mean, std))
    raw = family.around(means, stds)
    assert raw.shape == (4, family.size(2), 3, 3)
    law = family(raw)
    assert torch.allclose(law.mean, means, atol=1e-4)
    if name == "normal-network":
        assert torch.allclose(law.stddev, stds, rtol=1e-4)
    if name == "logistic":
        grey = torch.linspace(0, 1, 256, dtype=torch.float64)
        p = torch.stack([law.base_dist.log_prob(torch.full_like(means, level)) for level in grey]).exp()
        spread = (p * (grey.view(-1, 1, 1, 1, 1) - means).square()).sum(0).sqrt()
        assert torch.allclose(spread, stds, rtol=0.05)


@pytest.mark.parametrize("name", ["bernoulli", "logistic", "normal-network"])
def test_around_the_ends_a_network_still_moves_the_law(name: str) -> None:
    family = likelihood(name, 256, (1, 1, 2))
    raw = family.around(torch.tensor([[[[0.0, 1.0]]]]), torch.zeros(1, 1, 1, 2)).requires_grad_()
    family(raw).log_prob(torch.tensor([[[[1.0, 0.0]]]])).sum().backward()
    assert raw.isfinite().all()
    assert raw.grad is not None
    assert (raw.grad.abs() > 1e-3).any()
    assert raw.grad.isfinite().all()
