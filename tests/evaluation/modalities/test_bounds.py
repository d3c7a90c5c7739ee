"""Bounds of models of several modalities, where log p is known: a linear normal model with its own posterior."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

import polyvae as pv
from polyvae.checks.finite import NonFiniteError
from polyvae.data import Split
from polyvae.evaluation.modalities.bounds import Mean, predictive_densities, subset_bounds
from polyvae.model.parts import Head
from polyvae.model.posteriors.experts import Experts
from polyvae.model.presence import present
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional

D = 2
SIZES = {"a": 3, "b": 4, "c": 5}
NOISE = {"a": 0.5, "b": 0.8, "c": 0.3}
SPECS = {name: Spec((size,), levels=None) for name, size in SIZES.items()}


def weight(name: str) -> Tensor:
    """[size, D] of orthogonal columns, so that what x tells of each z is independent of the others."""
    draws = torch.Generator().manual_seed(SIZES[name])
    columns = torch.linalg.qr(torch.randn(SIZES[name], D, generator=draws, dtype=torch.float64))[0]
    return columns * torch.tensor([0.7, 1.4], dtype=torch.float64)


class Read(nn.Module):
    """The likelihood of z under x = W z + noise, as a normal law of z: its mean and the log of its deviation."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.register_buffer("weight", weight(name))
        self.noise = NOISE[name]

    def forward(self, x: Tensor) -> Tensor:
        w: Tensor = self.get_buffer("weight")
        squares = w.square().sum(0)
        scale = (self.noise / squares.sqrt()).expand(len(x), D)
        return torch.cat([x @ w / squares, scale], 1)


class Plain(pv.Family):
    """N(mu, s^2) of a mean and a deviation as they are."""

    def size(self, features: int) -> int:
        return 2 * features

    def forward(self, raw: Tensor) -> Independent:
        loc, scale = raw.chunk(2, 1)
        return Independent(Normal(loc, scale), 1)


class Explained(nn.Module):
    """p(x | z) = N(W z, s^2 I)."""

    given = ("z",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.register_buffer("weight", weight(name))
        self.noise = NOISE[name]

    def forward(self, values: pv.Values) -> Independent:
        loc = values["z"] @ self.get_buffer("weight").T
        return Independent(Normal(loc, torch.full_like(loc, self.noise)), 1)


def model(weights: float = 1.0, off: float = 0.0) -> pv.VAE:
    """With its exact posterior for every subset; `off`: by how much the experts' means are not it."""
    experts = {name: Conditional(Off(Read(name), off), Plain(), name) for name in SIZES}
    heads = {name: Head(Explained(name), of=name, weight=weights, where=present(name)) for name in SIZES}
    return pv.VAE(Experts(experts, prior=True), StandardNormal(D), heads).double()


class Off(nn.Module):
    """What a network says, so much beside it."""

    def __init__(self, net: nn.Module, off: float) -> None:
        super().__init__()
        self.net, self.off = net, off

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.off * torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=x.dtype)


def values(count: int = 30) -> Split:
    draws = torch.Generator().manual_seed(0)
    z = torch.randn(count, D, generator=draws, dtype=torch.float64)
    noise = {
        name: NOISE[name] * torch.randn(count, size, generator=draws, dtype=torch.float64)
        for name, size in SIZES.items()
    }
    return Split({name: z @ weight(name).T + noise[name] for name in SIZES})


def log_p(split: Split, names: tuple[str, ...]) -> Tensor:
    """log p(x_A) in closed form, [N]."""
    w = torch.cat([weight(name) for name in names])
    noise = torch.cat([torch.full((SIZES[name],), NOISE[name] ** 2, dtype=torch.float64) for name in names])
    law = MultivariateNormal(torch.zeros(len(w), dtype=torch.float64), w @ w.T + noise.diag())
    return law.log_prob(torch.cat([split.tensors[name] for name in names], 1))


def test_bounds_of_an_exact_posterior_are_log_p() -> None:
    split = values()
    found = {each.given: each for each in subset_bounds(model(), split, SPECS, samples=3)}
    assert set(found) == {("a",), ("b",), ("c",), ("a", "b", "c")}
    for names, each in found.items():
        exact = log_p(split, names)
        assert each.bound.examples == 30
        assert each.importance.value == pytest.approx(float(exact.mean()), abs=1e-9)
        assert each.importance.error == pytest.approx(float(exact.std()) / 30**0.5, abs=1e-9)


def test_the_plain_bound_is_log_p_on_average() -> None:
    split = values()
    found = subset_bounds(model(), split, SPECS, [("a", "c")], samples=4000)[0]
    assert found.bound.value == pytest.approx(float(log_p(split, ("a", "c")).mean()), abs=0.02)


def test_trap_6_weights_of_heads_enter_no_bound() -> None:
    split = values()
    one, other = (subset_bounds(model(weights), split, SPECS, samples=5) for weights in (1.0, 3.9))
    assert one == other
    near, far = (predictive_densities(model(weights), split, SPECS, ("a",), samples=5) for weights in (1.0, 3.9))
    assert near == far


def test_a_wrong_posterior_lies_below_and_more_draws_come_nearer() -> None:
    split = values()
    exact = float(log_p(split, ("a", "b", "c")).mean())
    few, many = (subset_bounds(model(off=0.3), split, SPECS, [("a", "b", "c")], samples=k)[0] for k in (5, 500))
    assert few.bound.value < few.importance.value < many.importance.value < exact + 0.02
    assert few.bound.value < exact - 0.2


def test_predictive_densities_of_an_exact_posterior_are_conditional_ones() -> None:
    split = values()
    for given in (("a",), ("c",), ("a", "b")):
        for each in predictive_densities(model(), split, SPECS, given, samples=20_000):
            names = tuple(name for name in SIZES if name in (*given, *each.targets))
            exact = float((log_p(split, names) - log_p(split, given)).mean())
            assert each.log_density.value == pytest.approx(exact, abs=0.03), (given, each.targets)


def test_every_target_and_all_together_are_predicted() -> None:
    found = predictive_densities(model(), values(), SPECS, ("b",), samples=4)
    assert [each.targets for each in found] == [("a",), ("c",), ("a", "c")]
    assert [each.targets for each in predictive_densities(model(), values(), SPECS, ("b", "c"), samples=4)] == [("a",)]
    assert predictive_densities(model(), values(), SPECS, ("a", "b", "c")) == []


def test_a_prediction_does_not_see_what_it_predicts() -> None:
    """Other values of the target change its score alone, by what a law that does not move says of them."""
    split = values()
    moved = Split({**split.tensors, "b": split.tensors["b"] + 100.0})
    one, other = (predictive_densities(model(), each, SPECS, ("a",), samples=50) for each in (split, moved))
    assert one[1] == other[1]
    assert other[0].log_density.value < one[0].log_density.value - 1000


def test_predictive_densities_are_densities() -> None:
    """Over values of one number the exponent integrates to one, whatever the draws."""
    grid = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    sizes = {"a": SPECS["a"], "b": Spec((1,), levels=None)}

    class Single(Explained):
        def forward(self, values: pv.Values) -> Independent:
            loc = values["z"][:, :1]
            return Independent(Normal(loc, torch.full_like(loc, 0.4)), 1)

    heads = {"a": Head(Explained("a"), of="a", where=present("a")), "b": Head(Single("b"), of="b", where=present("b"))}
    experts = {"a": Conditional(Read("a"), Plain(), "a")}
    made = pv.VAE(Experts(experts, prior=True), StandardNormal(D), heads).double()
    x = values().tensors["a"][:1].expand(len(grid), -1)
    parts = [Split({"a": x[:1], "b": point.view(1, 1)}) for point in grid]
    found = [predictive_densities(made, part, sizes, ("a",), samples=7)[0].log_density.value for part in parts[::20]]
    assert float(torch.tensor(found).exp().sum()) * 0.2 == pytest.approx(1.0, abs=0.01)


def test_a_marginal_is_of_rows_that_have_it_and_nothing_else() -> None:
    split = values()
    there = torch.arange(30) < 12
    lacking = Split(
        {**split.tensors, "b": torch.where(there[:, None], split.tensors["b"], torch.nan), present("b"): there}
    )
    alone, whole = subset_bounds(model(), lacking, SPECS, [("b",), ("a", "b", "c")], samples=2)
    assert alone.importance.examples == whole.importance.examples == 12
    assert alone.importance.value == pytest.approx(float(log_p(split, ("b",))[:12].mean()), abs=1e-9)
    first = subset_bounds(model(), lacking, SPECS, [("a",)], samples=2)[0]
    assert first.importance.value == pytest.approx(float(log_p(split, ("a",)).mean()), abs=1e-9)


def test_what_is_not_a_number_is_told() -> None:
    with pytest.raises(NonFiniteError, match="1 of 3"):
        Mean.of(torch.tensor([1.0, torch.nan, 2.0]))
    with pytest.raises(ValueError, match="modalities are a, b, c; got 'd'"):
        subset_bounds(model(), values(), SPECS, [("d",)], samples=2)
