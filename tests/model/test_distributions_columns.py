"""Laws in the user's units: densities integrate to one, means and samples are theirs, whatever the columns' scales."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch.distributions import Independent, Normal, kl_divergence

from polyvae import recipes
from polyvae.model import families
from polyvae.model.distributions.columns import Categories, Product, Standardised
from polyvae.model.families.columns import CategoryCodes, ColumnNormal, StandardisedFamily, by_kind, named, standardised
from polyvae.model.spec import Column, Spec


def normal(loc: float, scale: float, columns: int = 1) -> Independent:
    base = Normal(
        torch.full((1, columns), loc, dtype=torch.float64), torch.full((1, columns), scale, dtype=torch.float64)
    )
    return Independent(base, 1)


def law(loc: float, scale: float, centre: float, spread: float, log: bool) -> Standardised:
    return Standardised(
        normal(loc, scale),
        torch.tensor([centre], dtype=torch.float64),
        torch.tensor([spread], dtype=torch.float64),
        log,
    )


values = st.floats(-2, 2)
spreads = st.floats(0.05, 3)


@settings(max_examples=30, deadline=None)
@given(loc=values, scale=spreads, centre=st.floats(-1e3, 1e3), spread=st.floats(1e-3, 1e3))
def test_an_affine_map_of_a_normal_is_that_normal(loc: float, scale: float, centre: float, spread: float) -> None:
    found, expected = law(loc, scale, centre, spread, False), stats.norm(centre + spread * loc, spread * scale)
    x = torch.tensor(expected.rvs(5, random_state=0)).view(5, 1, 1)
    np.testing.assert_allclose(found.log_prob(x).numpy().ravel(), expected.logpdf(x.numpy().ravel()), rtol=1e-6)
    assert float(found.mean) == pytest.approx(expected.mean())
    assert float(found.variance) == pytest.approx(expected.var())


@settings(max_examples=30, deadline=None)
@given(loc=values, scale=st.floats(0.05, 1), centre=st.floats(-3, 3), spread=st.floats(0.1, 1))
def test_with_a_logarithm_it_is_the_log_normal(loc: float, scale: float, centre: float, spread: float) -> None:
    expected = stats.lognorm(spread * scale, scale=math.exp(centre + spread * loc))
    found = law(loc, scale, centre, spread, True)
    x = torch.tensor(expected.rvs(5, random_state=0)).view(5, 1, 1)
    np.testing.assert_allclose(found.log_prob(x).numpy().ravel(), expected.logpdf(x.numpy().ravel()), rtol=1e-6)
    assert float(found.mean) == pytest.approx(expected.mean())
    assert float(found.variance) == pytest.approx(expected.var())


@pytest.mark.parametrize("log", [False, True])
def test_a_standardised_laplace_integrates_to_one(log: bool) -> None:
    base = Independent(torch.distributions.Laplace(torch.tensor([[0.3]]).double(), torch.tensor([[0.4]]).double()), 1)
    found = Standardised(base, torch.tensor([1.5]).double(), torch.tensor([0.7]).double(), log)

    def density(x: float) -> float:
        return float(found.log_prob(torch.tensor([[x]]).double()).exp())

    kink = 1.5 + 0.7 * 0.3
    points = [1e-9, math.exp(kink), 4000.0] if log else [-30.0, kink, 30.0]
    total = sum(integrate.quad(density, *pair, limit=400)[0] for pair in pairwise(points))
    assert total == pytest.approx(1, abs=1e-4)


def test_samples_have_the_mean_and_the_variance_that_the_law_says() -> None:
    torch.manual_seed(0)
    for log in (False, True):
        found = law(0.5, 0.5, 1.0, 0.6, log)
        drawn = found.sample((40_000,))
        assert float(drawn.mean()) == pytest.approx(float(found.mean), rel=0.02)
        assert float(drawn.var()) == pytest.approx(float(found.variance), rel=0.05)
        assert bool(found.support.check(drawn).all())


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3), rows=st.integers(1, 3), seed=st.integers(0, 99))
def test_probabilities_of_all_codes_sum_to_one(sizes: list[int], rows: int, seed: int) -> None:
    torch.manual_seed(seed)
    columns = [Column("category", labels=tuple("abcd"[:size])) for size in sizes]
    family = CategoryCodes(columns)
    assert family.size(len(sizes)) == sum(sizes)
    found = family(torch.randn(rows, sum(sizes)).double())
    every = torch.cartesian_prod(*[torch.arange(size) for size in sizes]).view(-1, len(sizes)).double()
    total = found.log_prob(every[:, None].expand(-1, rows, -1)).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(rows).double())
    assert bool(found.support.check(every).all())
    assert not bool(found.support.check(every + 0.5).any())
    assert not bool(found.support.check(every - 5).any())
    drawn = found.sample((7,))
    assert drawn.shape == (7, rows, len(sizes))
    assert bool(found.support.check(drawn).all())
    assert bool(found.log_prob(found.mean).ge(found.log_prob(drawn) - 1e-9).all())


def test_codes_are_drawn_as_often_as_their_probability_says_and_gradients_are_finite() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, 0.5]], requires_grad=True)
    family = CategoryCodes([Column("category", labels=("a", "b")), Column("category", labels=("c", "d", "e"))])
    found = family(logits)
    drawn = found.sample((20_000,))[:, 0]
    shares = torch.stack([(drawn[:, 1] == code).double().mean() for code in range(3)])
    torch.testing.assert_close(shares, logits[0, 2:].detach().double().softmax(0), atol=0.015, rtol=0)
    found.log_prob(torch.tensor([[1.0, 2.0]])).sum().backward()
    expected = torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0]])
    expected -= torch.cat([logits[0, :2].softmax(0), logits[0, 2:].softmax(0)]).detach()
    torch.testing.assert_close(logits.grad, expected)


MIXED = Spec(
    (6,),
    levels=None,
    columns=(
        Column("real", "height", centre=170.0, scale=10.0),
        Column("category", "colour", ("blue", "green", "red")),
        Column("counts", "visits", centre=0.7, scale=0.5),
        Column("bits", "smokes"),
        Column("positive", "income", centre=10.0, scale=1.0),
        Column("real", "score", centre=0.0, scale=1e-3),
    ),
)


def mixed_rows(rows: int, seed: int = 0) -> torch.Tensor:
    stream = np.random.default_rng(seed)
    columns = [
        stream.normal(170, 10, rows), stream.integers(0, 3, rows), stream.poisson(1.2, rows),
        stream.integers(0, 2, rows), stream.lognormal(10, 1, rows), stream.normal(0, 1e-3, rows),
    ]  # fmt: skip
    return torch.from_numpy(np.stack(columns, 1)).float()


def test_columns_of_several_kinds_are_scored_each_by_its_own_law() -> None:
    torch.manual_seed(0)
    family, x = by_kind(MIXED), mixed_rows(8)
    raw = torch.randn(8, family.size(6))
    found = family(raw)
    assert isinstance(found, Product)
    parts = found.log_probs(x)
    assert len(parts) == 5
    torch.testing.assert_close(found.log_prob(x), sum(parts))
    torch.testing.assert_close(parts[0], found.parts[0].log_prob(x[:, [0, 5]]))
    assert found.mean.shape == found.variance.shape == x.shape
    torch.testing.assert_close(found.mean[:, 4], found.parts[4].mean[:, 0])
    torch.testing.assert_close(found.mean[:, 5], found.parts[0].mean[:, 1])
    assert found.sample((3,)).shape == (3, 8, 6)
    assert bool(found.support.check(found.sample()).all())
    bad = x.clone()
    bad[:, 1] = 3
    assert not bool(found.support.check(bad).any())


@pytest.mark.parametrize("kind", ["real", "positive"])
def test_the_density_in_the_user_s_units_is_that_of_the_standardised_by_the_jacobian(kind: str) -> None:
    torch.manual_seed(0)
    columns = [Column(kind, centre=2.0, scale=0.5), Column(kind, centre=-1.0, scale=3.0)]
    family = StandardisedFamily(ColumnNormal(2), columns, kind == "positive").double()
    raw, x = torch.randn(5, 2).double(), torch.rand(5, 2).double() + 0.5
    inner = x.log() if kind == "positive" else x
    y = (inner - torch.tensor([2.0, -1.0]).double()) / torch.tensor([0.5, 3.0]).double()
    jacobian = math.log(0.5) + math.log(3.0) + (inner.sum(1) if kind == "positive" else 0.0)
    torch.testing.assert_close(family(raw).log_prob(x), ColumnNormal(2).double()(raw).log_prob(y) - jacobian)


def test_fields_have_a_scale_for_every_channel() -> None:
    columns = (Column("real", "u", centre=1.0, scale=2.0), Column("real", "v", centre=0.0, scale=1e-2))
    family = by_kind(Spec((2, 3, 4), levels=None, columns=columns))
    found = family(torch.zeros(5, family.size(2), 3, 4))
    assert found.event_shape == (2, 3, 4)
    torch.testing.assert_close(found.mean[0, :, 0, 0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(found.variance[0, :, 0, 0].sqrt(), 1.001 * torch.tensor([2.0, 1e-2]))
    x = torch.randn(5, 2, 3, 4)
    expected = Normal(found.mean, found.variance.sqrt()).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(found.log_prob(x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["normal", "normal-learned", "normal-network", "normal-optimal", "laplace"])
def test_a_law_by_name_is_one_of_the_standardised_numbers(name: str) -> None:
    columns = (Column("real", centre=1e4, scale=50.0), Column("real", centre=0.0, scale=1e-3))
    spec = Spec((2,), levels=None, columns=columns)
    family = named(name, spec).eval()
    found = family(torch.zeros(3, family.size(2)))
    torch.testing.assert_close(found.mean.detach(), torch.tensor([[1e4, 0.0]]).expand(3, 2))
    ratio = (found.variance[0, 0].sqrt() / found.variance[0, 1].sqrt()).detach()
    assert float(ratio) == pytest.approx(5e4, rel=1e-4)


@pytest.mark.parametrize(
    ("spec", "name", "words"),
    [
        (MIXED, "normal", "one law for all columns, and these are real, category, counts, bits, positive: take vae"),
        (Spec((1,), columns=(Column("counts"),)), "normal", "no law of counts.*poisson, negative-binomial"),
        (Spec((1,), columns=(Column("real"),)), "bernoulli", "no law of real numbers, which the data hold"),
        (Spec((1,), columns=(Column("positive"),)), "laplace", "no law of positive numbers"),
        (Spec((1,), columns=(Column("category", labels=("a", "b")),)), "normal", "none by name is"),
        (Spec((1,), columns=(Column("real"),)), "norm", "likelihood is one of bernoulli.*got 'norm'"),
    ],
)
def test_a_law_that_is_none_of_the_columns_is_refused(spec: Spec, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        named(name, spec)


@pytest.mark.parametrize("kind", ["counts", "category", "bits", "mixed"])
def test_a_normal_with_a_free_scale_is_refused_where_it_is_no_law_of_the_columns(kind: str) -> None:
    column = Column(kind, labels=("a", "b") if kind == "category" else None) if kind != "mixed" else Column("bits")
    spec = Spec((2,), columns=(column, Column("real") if kind == "mixed" else column))
    with pytest.raises(ValueError, match="one law for all" if kind == "mixed" else "'normal' is no law of"):
        recipes.sigma_vae(spec, network="mlp")


@pytest.mark.parametrize("name", ["wae", "rae"])
@pytest.mark.parametrize("kinds", [("real", "bits"), ("counts",)])
def test_recipes_of_squared_errors_give_other_columns_the_law_of_their_kind(name: str, kinds: tuple[str, ...]) -> None:
    spec = Spec((len(kinds),), levels=None, columns=tuple(map(Column, kinds)))
    made, plain = (recipes.named(each)(spec, network="mlp", widths=(4,), latent=2) for each in (name, "vae"))
    families = [each.model.heads["x"].likelihood.family for each in (made, plain)]
    assert str(families[0]) == str(families[1])
    with pytest.raises(ValueError, match="laplace"):
        recipes.named(name)(spec, likelihood="laplace", network="mlp")


def test_recipes_of_one_law_say_what_to_take_for_columns_of_other_kinds() -> None:
    with pytest.raises(ValueError, match=r"columns of counts only, and these hold real, category, .*: take vae"):
        recipes.count_vae(MIXED)
    with pytest.raises(ValueError, match="take vae, which gives each kind its own where no"):
        recipes.sigma_vae(MIXED)
    columns = (Column("real", "age"), Column("category", "city", labels=("a", "b")))
    with pytest.raises(ValueError, match=r"these data have none: load them with label='city'"):
        recipes.cvae(Spec((2,), columns=columns))


def test_a_family_is_left_as_it_is_where_nothing_is_standardised() -> None:
    family = families.PixelNormal(0.5)
    assert standardised(family, Spec((3,))) is family
    assert standardised(family, Spec((1,), columns=(Column("counts"),))) is family


def test_codes_have_no_closed_divergence_and_say_so() -> None:
    with pytest.raises(NotImplementedError):
        kl_divergence(Categories(torch.zeros(1, 1, 2), torch.tensor([2])), normal(0.0, 1.0))


def test_rows_that_are_not_scored_leave_every_gradient_finite() -> None:
    from polyvae.model.laws import log_likelihood

    kinds = (Column("positive", centre=0.0, scale=1.0), Column("category", labels=("a",)), Column("counts"))
    family = by_kind(Spec((3,), levels=None, columns=kinds))
    raw = torch.randn(4, family.size(3), requires_grad=True)
    x = torch.tensor([[2.0, 0.0, 1.0], [torch.nan] * 3, [0.5, 0.0, 0.0], [torch.nan] * 3])
    found = log_likelihood(family(raw), x, 1, torch.tensor([True, False, True, False]))
    assert found[0, 1] == found[0, 3] == 0
    found.sum().backward()
    assert raw.grad.isfinite().all()
    assert not raw.grad[1].any()


def test_an_optimal_scale_of_standardised_columns_is_fitted_to_scored_rows_alone() -> None:
    from polyvae.model.laws import log_likelihood

    columns = (Column("real", centre=5.0, scale=2.0),)
    family = named("normal-optimal", Spec((1,), levels=None, columns=columns)).train()
    x, scored = torch.tensor([[1.0], [3.0], [99.0], [8.0]]), torch.tensor([True, True, False, True])
    found = log_likelihood(family(torch.zeros(4, 1)), x, 1, scored)[0, scored]
    alone = log_likelihood(family(torch.zeros(3, 1)), x[scored], 1)[0]
    torch.testing.assert_close(found, alone)
