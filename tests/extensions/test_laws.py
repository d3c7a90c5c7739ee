"""Laws beyond torch's: drawn and scored together, a centre without a mean, copies whose parameters take no gradient."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.distributions import Distribution

import polyvae as pv
from polyvae.model.distributions.normal import CholeskyNormal
from polyvae.model.families.flow import InverseAutoregressive
from polyvae.model.laws import centre, detached, drawn
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal


def flow_model(width: int = 6, latent: int = 3) -> pv.VAE:
    pytest.importorskip("zuko")
    torch.manual_seed(0)
    family = InverseAutoregressive(latent, context=8, widths=(16,))
    q = pv.Conditional(mlp([(width,)], (family.size(latent),), (16,)), family, "x")
    normal = pv.families.DiagonalNormal()
    p = pv.Conditional(mlp([(latent,)], (normal.size(width),), (16,)), normal, "z")
    return pv.VAE(q, StandardNormal(latent), p)


def test_a_law_that_draws_and_scores_at_once_is_used_so_and_never_inverted() -> None:
    model = flow_model()
    seen: list[str] = []
    flow = type(model.posterior["z"]({"x": torch.zeros(2, 6)}))
    plain = flow.log_prob
    flow.log_prob = lambda law, z: seen.append("inverted") or plain(law, z)
    try:
        draw = model({"x": torch.randn(5, 6)}, 4)
        together = draw.latents["z"].log_q
        assert seen == []
        apart = plain(draw.latents["z"].q, draw.latents["z"].drawn)
    finally:
        flow.log_prob = plain
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)
    assert not draw.latents["z"].analytic


def test_a_flow_trains_encodes_reconstructs_and_is_evaluated() -> None:
    torch.manual_seed(1)
    x = torch.randn(300, 2) @ torch.randn(2, 6) + 0.1 * torch.randn(300, 6)
    model = flow_model()
    data = pv.data.wrap(x)
    run = pv.fit(model, data, epochs=15, batch_size=32, device="cpu", progress=False, lr=5e-3)
    first, last = run.history[0]["validation_bound"], run.history[-1]["validation_bound"]
    assert last > first + 1
    z = run.encode(x[:7])
    assert z.shape == (7, 3)
    assert torch.equal(z, run.encode(x[:7]))  # the mean of the same draws at every call
    assert run.reconstruct(x[:7]).shape == (7, 6)
    report = pv.evaluate(run, data.test, samples=20)
    assert report["importance_bound"] >= report["bound"] - 0.5


def test_zuko_leaves_torch_as_it_was() -> None:
    code = (
        "import torch; from polyvae.model.families.flow import InverseAutoregressive;"
        "InverseAutoregressive(2); assert torch.distributions.Distribution._validate_args"
    )
    pytest.importorskip("zuko")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (td.Normal(torch.tensor([1.0, 2.0]), torch.ones(2)), [1.0, 2.0]),
        (td.Categorical(probs=torch.tensor([[0.1, 0.7, 0.2]])), [1]),  # torch's mean of it is NaN
        (td.Cauchy(torch.tensor([3.0]), torch.ones(1)), [3.0]),
        (td.HalfCauchy(torch.tensor([2.0])), [0.0]),  # torch's mean of it is infinite
        (td.FisherSnedecor(torch.tensor([5.0, 5.0]), torch.tensor([7.0, 1.5])), [1.4, 0.6 * 1.5 / 3.5]),
        (td.OneHotCategorical(probs=torch.tensor([0.25, 0.75])), [0.25, 0.75]),
    ],
)
def test_the_centre_is_the_mean_else_the_mode(law: Distribution, expected: list[float]) -> None:
    assert centre(law).tolist() == pytest.approx(expected)


def test_the_centre_of_a_law_without_mean_and_mode_is_the_mean_of_the_same_draws() -> None:
    law = td.TransformedDistribution(td.Normal(torch.zeros(50), torch.ones(50)), [td.transforms.TanhTransform()])
    state = torch.get_rng_state()
    first = centre(law)
    assert torch.equal(first, centre(law))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.abs().max() < 0.3  # the mean is 0, 256 draws have a deviation of 0.04


def test_the_centre_of_a_row_of_a_flow_does_not_depend_on_the_other_rows() -> None:
    model, x = flow_model(), torch.randn(9, 6)
    with torch.no_grad():
        together = centre(model.posterior["z"]({"x": x}))
        alone = torch.cat([centre(model.posterior["z"]({"x": row[None]})) for row in x])
        drawn_often = model.posterior["z"]({"x": x}).sample(torch.Size((20_000,)))
    torch.testing.assert_close(together, alone)
    assert ((together - drawn_often.mean(0)).abs() < 4 * drawn_often.std(0) / 16).all()


def squashed(loc: Tensor) -> Distribution:
    return td.TransformedDistribution(td.Independent(td.Normal(loc, loc.exp()), 1), [td.TanhTransform()])


@pytest.mark.parametrize(
    "law",
    [
        squashed,
        lambda loc: td.Independent(td.TransformedDistribution(td.Normal(loc, loc.exp()), [td.SigmoidTransform()]), 1),
        lambda loc: td.TransformedDistribution(squashed(loc), [td.AffineTransform(1.0, 2.0), td.SigmoidTransform()]),
        lambda loc: td.TransformedDistribution(
            td.MultivariateNormal(loc, torch.eye(3).double() + 0.5), [td.SigmoidTransform()]
        ),
        lambda loc: td.TransformedDistribution(td.Normal(loc, loc.exp()), [td.StickBreakingTransform()]),
    ],
)
def test_so_it_is_with_every_map_of_a_normal_law(law: Callable[[Tensor], Distribution]) -> None:
    torch.manual_seed(0)
    loc = torch.randn(5, 3, dtype=torch.float64)
    together = centre(law(loc))
    torch.testing.assert_close(together, torch.cat([centre(law(row[None])) for row in loc]))
    draws = law(loc).sample(torch.Size((50_000,)))
    assert together.dtype == torch.float64
    assert ((together - draws.mean(0)).abs() < 4 * draws.std(0) / 16).all()


def test_the_centre_of_an_affine_map_is_exact() -> None:
    loc = torch.tensor([[1.0, -2.0], [30.0, 4.0]], dtype=torch.float64)
    law = td.TransformedDistribution(td.Independent(td.Normal(loc, 10.0), 1), [td.AffineTransform(3.0, 2.0)])
    torch.testing.assert_close(centre(law), 3 + 2 * loc)


class Flow(Distribution):
    """A user's own, whose map goes from the base, as torch's do and zuko's do not."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base: Distribution, transform: td.Transform) -> None:
        self.base, self.transform = base, transform
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.transform(self.base.sample(sample_shape))


def test_a_users_own_flow_has_the_mean_of_its_own_draws() -> None:
    base = td.Independent(td.Normal(torch.tensor([[0.0, 1.0]]), 0.3), 1)
    assert centre(Flow(base, td.AffineTransform(10.0, 2.0)))[0].tolist() == pytest.approx([10, 12], abs=0.2)


class DrawsAndScores(Distribution):
    """A law that only draws and scores at once."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, law: Distribution) -> None:
        self.law = law
        super().__init__(law.batch_shape, law.event_shape, validate_args=False)

    def rsample_and_log_prob(self, shape: Any = ()) -> tuple[Tensor, Tensor]:
        z = self.law.rsample(shape)
        return z, self.law.log_prob(z)


def test_a_law_that_only_draws_and_scores_at_once_has_a_centre() -> None:
    law = DrawsAndScores(td.Independent(td.Normal(torch.tensor([[0.0, 4.0]]), 0.5), 1))
    assert centre(law)[0].tolist() == pytest.approx([0, 4], abs=0.2)


def test_a_law_without_a_gradient_through_its_draws_is_refused_where_it_would_not_be_trained() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r"the posterior of 'y' \(OneHotCategorical\) has no gradient .* summed"):
        drawn(td.OneHotCategorical(logits=logits), (), "the posterior of 'y'")
    with torch.no_grad():
        assert drawn(td.OneHotCategorical(logits=logits), (2,))[0].shape == (2, 4, 3)


LAWS = {
    "normal": lambda a: td.Independent(td.Normal(a, a.exp()), 1),
    "full": lambda a: CholeskyNormal(a, scale_tril=a.exp().diag_embed(), validate_args=False),
    "mixture": lambda a: td.MixtureSameFamily(td.Categorical(logits=a), td.Normal(a, a.exp())),
    "transformed": lambda a: td.TransformedDistribution(td.Normal(a, 1.0), [td.AffineTransform(a, a.exp())]),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_detached_law_is_the_same_law_without_gradients(name: str) -> None:
    a = torch.randn(3, 4, requires_grad=True)
    law = LAWS[name](a)
    value = law.sample()
    law.log_prob(value)  # what is remembered of it is no way around
    other = detached(law)
    score = other.log_prob(value)
    assert not score.requires_grad
    torch.testing.assert_close(score, law.log_prob(value).detach())
    assert law.log_prob(value).requires_grad
    moved = value.clone().requires_grad_()
    assert detached(law).log_prob(moved).requires_grad  # the path through the value stays


def test_a_law_that_hides_its_networks_says_so_or_answers_itself() -> None:
    class Hidden(td.Normal):
        def __init__(self, net: nn.Module) -> None:
            super().__init__(torch.zeros(2), torch.ones(2))
            self.net = net

    with pytest.raises(ValueError, match="Hidden holds a Linear, whose parameters cannot be detached"):
        detached(Hidden(nn.Linear(2, 2)))

    class Answers(Hidden):
        def detached(self) -> Distribution:
            return td.Normal(self.loc.detach(), self.scale.detach())

    assert isinstance(detached(Answers(nn.Linear(2, 2))), td.Normal)


def test_a_law_in_a_copied_model_is_detached_too() -> None:
    model = copy.deepcopy(pv.recipes.vae((3,), latent=2, network="mlp", widths=[4]).model)
    assert not detached(model.encode({"x": torch.zeros(2, 3)})["z"]).mean.requires_grad
