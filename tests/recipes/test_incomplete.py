"""What is learned from examples that lack values, against linear models whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

import polyvae as pv
from helpers.contract import PICTURES, examples
from polyvae.model.families.columns import by_kind
from polyvae.model.families.missingness import Missingness, SelfMasking
from polyvae.model.laws import log_likelihood, value_log_prob
from polyvae.model.networks.prepared import Standardise
from polyvae.model.spec import Column
from polyvae.observe.gaps import Gaps

COLUMNS = (
    Column("real", "a", None, 3.0, 2.0),
    Column("bits", "b"),
    Column("category", "c", ("u", "v", "w")),
    Column("counts", "d", None, 1.0, 0.5),
    Column("positive", "e", None, 0.5, 0.7),
    Column("category", "f", ("one",)),
)
TABLE = pv.Spec((6,), levels=None, columns=COLUMNS)
SMALL = {"latent": 2, "network": "mlp", "widths": (6,), "seed": 3}


def rows(count: int = 30) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    base = torch.tensor([3.0, 1, 2, 4, 0.5, 0]).repeat(count, 1)
    base[:, 0] += torch.randn(count, generator=generator)
    base[::2, 1], base[::3, 2] = 0, 0
    return base


def hidden(count: int = 30, share: float = 0.4) -> Tensor:
    return torch.rand(count, 6, generator=torch.Generator().manual_seed(2)) < share


class Linear(nn.Module):
    """p(x | z) = N(W z + b, s^2), and with it p(z | x_o) in closed form: `exact`, else a wide normal for q."""

    given = ("z",)

    def __init__(self, columns: int = 4, latent: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.w = torch.randn(columns, latent, generator=generator, dtype=torch.float64)
        self.b = torch.randn(columns, generator=generator, dtype=torch.float64)
        self.s = 0.5

    def forward(self, values):
        return Independent(Normal(values["z"] @ self.w.T + self.b, torch.tensor(self.s, dtype=torch.float64)), 1)

    @property
    def joint(self) -> MultivariateNormal:
        return MultivariateNormal(self.b, self.w @ self.w.T + self.s**2 * torch.eye(len(self.b), dtype=torch.float64))


class Posterior(nn.Module):
    given = ("x", "seen")

    def __init__(self, p: Linear, exact: bool) -> None:
        super().__init__()
        self.p, self.exact = p, exact

    def forward(self, values):
        x, seen = values["x"], values["seen"].double()
        if not self.exact:
            zeros = torch.zeros(len(x), 2, dtype=torch.float64)
            return Independent(Normal(zeros, zeros + 1.3), 1)
        w = self.p.w * seen[..., None]
        precision = torch.eye(2, dtype=torch.float64) + w.mT @ w / self.p.s**2
        mean = torch.linalg.solve(precision, (w.mT @ ((x - self.p.b) * seen)[..., None]) / self.p.s**2)[..., 0]
        return MultivariateNormal(mean, precision_matrix=precision)


class Prior(nn.Module):
    def forward(self, values):
        return MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


def linear(exact: bool) -> pv.VAE:
    p = Linear()
    return pv.VAE(Posterior(p, exact), Prior(), {"x": pv.Head(p, where="seen")})


def lacking(count: int = 6) -> tuple[Tensor, Tensor]:
    """Rows of the linear model, and which of their values are seen: all in the first row, none in the second."""
    generator = torch.Generator().manual_seed(9)
    seen = torch.rand(count, 4, generator=generator) < 0.6
    seen[0], seen[1] = True, False
    p = Linear()
    z = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return z @ p.w.T + p.b + p.s * torch.randn(count, 4, generator=generator, dtype=torch.float64), seen


def test_a_draw_of_the_exact_posterior_weighs_log_p_of_what_is_observed() -> None:
    x, seen = lacking()
    draw = linear(exact=True)({"x": x.masked_fill(~seen, torch.nan).nan_to_num(7.0), "seen": seen}, 3)
    whole = Linear().joint
    for row in range(len(x)):
        at = seen[row]
        law = MultivariateNormal(whole.mean[at], whole.covariance_matrix[at][:, at]) if at.any() else None
        expected = torch.zeros(()) if law is None else law.log_prob(x[row, at])
        assert draw.log_weight[:, row].tolist() == pytest.approx([float(expected)] * 3, abs=1e-9)


def test_the_bound_rises_with_k_to_log_p_trap_10() -> None:
    x, seen = lacking()
    exact = linear(exact=True)({"x": x, "seen": seen}, 1).log_weight[0]
    model = linear(exact=False)
    torch.manual_seed(0)
    found = [model({"x": x, "seen": seen}, k).importance_bound for k in (1, 100, 200_000)]
    assert found[0].mean() < found[1].mean() < exact.mean() + 0.02
    assert found[2].tolist() == pytest.approx(exact.tolist(), abs=0.03)


def test_with_all_present_the_bound_is_that_of_iwae() -> None:
    options = {**SMALL, "samples": 5}
    ours, theirs = (build(TABLE, **options) for build in (pv.recipes.incomplete, pv.recipes.iwae))
    found = []
    for made in (ours, theirs):
        torch.manual_seed(0)
        model = made.model.double()
        values = made.objective(model, made.observe({"x": rows().double()}))
        values["loss"].backward()
        found.append([values["loss"].item(), *(float(p.grad.sum()) for p in model.parameters() if p.grad is not None)])
    assert found[0] == pytest.approx(found[1], rel=1e-12, abs=1e-12)
    assert len(list(ours.model.parameters())) == len(list(theirs.model.parameters()))


def test_values_are_scored_one_by_one_and_sum_to_the_whole() -> None:
    raw = torch.randn(3 * 5, by_kind(TABLE).size(6), dtype=torch.float64)
    law, x, seen = by_kind(TABLE).double()(raw), rows(5).double(), hidden(5)
    whole, some, others = (log_likelihood(law, x, 3, mask) for mask in (None, seen, ~seen))
    assert torch.allclose(some + others, whole, rtol=1e-12)
    assert torch.allclose(log_likelihood(law, x, 3, torch.ones_like(seen)), whole, rtol=1e-12)
    assert not log_likelihood(law, x, 3, torch.zeros_like(seen)).any()


DEPENDENT = ("normal-optimal", "structured", "low-rank", "coupled-logistic-mixture")  # whose values are not independent


@pytest.mark.parametrize("likelihood", [name for name in pv.families.LIKELIHOODS if name not in DEPENDENT])
def test_every_named_likelihood_scores_what_a_mask_shows(likelihood: str) -> None:
    family = pv.families.likelihood(likelihood, 256)
    x = torch.rand(4, 1, 3, 3).mul(255).round().div(255)
    x = x.mul(9).round() if likelihood in pv.families.COUNTS else x
    law = family(torch.randn(8, family.size(1), 3, 3))
    seen = torch.rand(4, 1, 3, 3) < 0.5
    whole, some, others = (log_likelihood(law, x, 2, mask) for mask in (None, seen, ~seen))
    assert torch.allclose(some + others, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", ["self-masking", "linear", "network"])
def test_a_model_of_the_mask_that_ignores_x_adds_log_p_of_s(missing: str) -> None:
    plain = pv.recipes.incomplete(TABLE, samples=4, **SMALL)
    modelled = pv.recipes.incomplete(TABLE, samples=4, missing=missing, **SMALL)
    modelled.model.load_state_dict(
        {
            name.replace("heads.x.likelihood.net", "features.raw.net"): value
            for name, value in plain.model.state_dict().items()
        },
        strict=False,
    )
    for name, parameter in modelled.model.heads["s"].likelihood.net.named_parameters():
        torch.nn.init.constant_(parameter, 0.7 if name.endswith("bias") else 0.0)
    batch = {"x": rows().masked_fill(hidden(), torch.nan)}
    bounds = []
    for made in (plain, modelled):
        torch.manual_seed(0)
        bounds.append(made.model(made.observe(batch), 4).importance_bound)
    mechanism = modelled.model.heads["s"].likelihood
    odds = mechanism.net(rows())[0]
    seen = (~hidden()).float()
    constant = -nn.functional.binary_cross_entropy_with_logits(odds.expand(30, 6), seen, reduction="none").sum(1)
    assert torch.allclose(bounds[0] + constant, bounds[1], atol=1e-4)


def test_the_gradient_of_unseen_bits_is_that_of_their_sum() -> None:
    """One bit that is never seen: log p(s = 0) = log sum_x p(x) p(s = 0 | x), by its importance-weighted draws."""
    spec = pv.Spec((1,), levels=2, columns=(Column("bits", "b"),))
    mechanism = SelfMasking(spec).double()
    torch.nn.init.constant_(mechanism.weight, 2.0)
    head = Missingness(mechanism, pv.families.Bernoulli(), spec).double()
    theta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    chance = theta.sigmoid()
    exact = ((1 - chance) * 0.5 + chance * (-torch.tensor(2.0, dtype=torch.float64)).sigmoid()).log()
    (wanted,) = torch.autograd.grad(exact, theta)
    torch.manual_seed(0)
    count = 200_000
    values = {"raw": theta.expand(count, 1), "x": torch.zeros(count, 1), "seen": torch.zeros(count, 1)}
    law = head(values)
    bound = law.log_prob(torch.zeros(count, 1, dtype=torch.float64)).logsumexp(0) - math.log(count)
    (found,) = torch.autograd.grad(bound, theta)
    assert bound.item() == pytest.approx(exact.item(), abs=5e-3)
    assert found.item() == pytest.approx(wanted.item(), abs=5e-3)


def test_values_missing_for_what_they_are_are_biased_at_random_and_less_with_a_model_of_the_mask() -> None:
    """The larger a value of column 1, the more often it is missing; columns 0 and 2 tell something of it."""
    torch.manual_seed(0)
    x = torch.randn(600, 3)
    x[:, 1:] = 0.8 * x[:, :1] + 0.6 * x[:, 1:]
    seen = torch.ones(600, 3, dtype=torch.bool)
    seen[:, 1] = torch.rand(600) > torch.sigmoid(4 * x[:, 1])
    data = pv.data.wrap({"x": x, "seen": seen})
    gap = {}
    for missing in ("random", "self-masking"):
        options = {"samples": 10, "latent": 2, "network": "mlp", "widths": (8,), "seed": 0}
        made = pv.recipes.incomplete(data.spec, missing=missing, **options)
        run = pv.fit(made, data, epochs=25, batch_size=50, lr=1e-2, device="cpu", progress=False)
        gap[missing] = (run.impute(x.masked_fill(~seen, torch.nan), samples=200).expected - x)[~seen].mean().item()
    weight = run.model.heads["s"].likelihood.net.net.weight
    assert weight[1] < -0.5
    assert gap["random"] < -0.6
    assert abs(gap["self-masking"]) < 0.6 * abs(gap["random"])


def test_what_is_not_seen_is_read_as_zero_and_moves_nothing() -> None:
    made = pv.recipes.incomplete(TABLE, samples=3, **SMALL)
    seen = made.observe({"x": torch.full((1, 6), torch.nan)})
    assert torch.allclose(Standardise(COLUMNS)(seen["x"]), torch.zeros(1, 8), atol=1e-6)
    assert not seen["seen"].any()
    x, gone = rows(), hidden()
    found = []
    for stand_in in (torch.nan, 5.0):
        torch.manual_seed(0)
        batch = made.observe({"x": x.masked_fill(gone, stand_in), "seen": ~gone})
        made.model.zero_grad()
        loss = made.objective(made.model, batch)["loss"]
        loss.backward()
        grads = [p.grad.clone() for p in made.model.parameters()]
        assert all(grad.isfinite().all() for grad in grads)
        found.append((loss.item(), *grads))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1:], found[1][1:], strict=True))


@pytest.mark.parametrize("options", [{"prior": "vamp"}, {"posterior": "full"}, {"read_mask": True, "prior": "mixture"}])
@pytest.mark.parametrize("missing", ["random", "network"])
def test_three_old_parts_go_with_it(options: dict, missing: str) -> None:
    made = pv.recipes.incomplete(PICTURES, missing=missing, samples=2, condition=True, components=3, **SMALL, **options)
    batch = examples(PICTURES)
    seen = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    for size in (12, 1, 5):  # a last short batch too
        held = {name: value[:size] for name, value in {**batch, "seen": seen}.items()}
        values = made.objective(made.model, made.observe(held))
        assert values["loss"].isfinite()
    values["loss"].backward()
    assert not [name for name, parameter in made.model.named_parameters() if parameter.grad is None]
    given = {name: made.observe(batch)[name] for name in made.model.conditions}
    assert list(given) == ["y"]
    assert list(made.model.generate(given)) == ["x"]


def test_two_levels_score_what_a_mask_shows() -> None:
    made = pv.recipes.two_level(TABLE, top=2, **{**SMALL, "latent": 2})
    made.model.heads["x"].where = "seen"
    batch = Gaps(COLUMNS)({"x": rows().masked_fill(hidden(), torch.nan)})
    draw = made.model(batch, 3)
    law = draw.heads["x"].p
    by_hand = value_log_prob(law, rows().repeat(3, 1)).masked_fill(hidden().repeat(3, 1), 0.0).sum(1).view(3, 30)
    assert torch.allclose(draw.log_px, by_hand, atol=1e-4)


def test_what_does_not_go_together_is_refused_by_name() -> None:
    build = pv.recipes.incomplete
    with pytest.raises(ValueError, match="likelihood: what is observed is scored value by value"):
        build((1, 8, 8), likelihood="normal-optimal", network="mlp")
    with pytest.raises(ValueError, match="prior: the pseudo-inputs of 'vamp' have no mask; leave read_mask away"):
        build(TABLE, prior="vamp", read_mask=True)
    with pytest.raises(ValueError, match="samples are those of the recipe's own bound"):
        build(TABLE, samples=3, objective=pv.ImportanceWeighted(3))
    with pytest.raises(ValueError, match="missing is one of"):
        build(TABLE, missing="never")
    with pytest.raises(ValueError, match="library is no option of incomplete"):
        build(TABLE, library="observed")
    with pytest.raises(ValueError, match="scores of single values need a likelihood of independent values"):
        log_likelihood(MultivariateNormal(torch.zeros(2, 3), torch.eye(3)), torch.zeros(2, 3), 1, torch.ones(2, 3))
