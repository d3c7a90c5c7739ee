from __future__ import annotations

import io
import math
from collections.abc import Sequence

import pytest
import torch
from beartype import beartype
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from jaxtyping import Float, jaxtyped
from rich.console import Console
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

import polyvae as pv
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.families.real import DiagonalNormal, FullNormal, PixelNormal
from polyvae.model.networks import mlp
from polyvae.model.priors.mixture import Mixture
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.terms import Reconstruction


def part(
    given: str | Sequence[str], inputs: Sequence[int], output: int, family: pv.Family | None = None
) -> pv.Conditional:
    family = family or DiagonalNormal()
    return pv.Conditional(mlp([(size,) for size in inputs], (family.size(output),), (5,)), family, given)


def plain(d: int = 2, width: int = 4, family: pv.Family | None = None) -> pv.VAE:
    return pv.VAE(part("x", [width], d, family), StandardNormal(d), part("z", [d], width))


def two_level(bottom_up: bool = False) -> pv.VAE:
    """p(top) p(low | top) p(x | low, top), inferred from the top or from the bottom."""
    low_first = {"low": part("x", [4], 2), "top": part(("x", "low"), [4, 2], 3)}
    top_first = {"top": part("x", [4], 3), "low": part(("x", "top"), [4, 3], 2)}
    prior = {"top": StandardNormal(3), "low": part("top", [3], 2)}
    return pv.VAE(low_first if bottom_up else top_first, prior, part(("low", "top"), [2, 3], 4))


class Affine(nn.Module):
    """A user's own part: N(sum_i w_i v_i + b, s^2) of one-dimensional values."""

    def __init__(self, bias: float, scale: float, **weights: float) -> None:
        super().__init__()
        self.bias, self.scale, self.weights, self.given = bias, scale, weights, tuple(weights)

    def forward(self, values: pv.Values) -> Distribution:
        loc = sum((w * values[name] for name, w in self.weights.items()), torch.tensor(self.bias).double())
        return Independent(Normal(loc, torch.full_like(loc, self.scale)), 1)


class Prepared:
    """Stands for torch's normal noise: the tensors given, in turn, in whatever shape is asked for."""

    def __init__(self, *noise: Tensor) -> None:
        self.noise = list(noise)

    def __call__(self, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        return self.noise.pop(0).reshape(shape)


@jaxtyped(typechecker=beartype)
def check_shapes(
    z: Float[Tensor, "k b d"],
    folded: Float[Tensor, "kb d"],
    per_draw: dict[str, Float[Tensor, "k b"]],
    per_example: dict[str, Float[Tensor, " b"]],
) -> None:
    assert len(folded) == len(z) * len(z[0])


@settings(max_examples=10, deadline=None)
@drawn(samples=st.integers(1, 4), rows=st.integers(1, 4), d=st.integers(1, 3), full=st.booleans())
def test_everything_on_a_draw_has_one_row_a_sample_and_one_column_an_example(samples, rows, d, full) -> None:
    draw = plain(d, family=FullNormal() if full else None)({"x": torch.randn(rows, 4)}, samples)
    latent, head = draw.latents["z"], draw.heads["x"]
    kl = draw.latents["z"].analytic_kl
    assert kl is not None
    per_draw = {"log_px": draw.log_px, "kl": draw.kl, "weight": draw.log_weight, "head": head.log_p, "analytic": kl}
    per_draw |= {"log_q": latent.log_q, "log_p": latent.log_p}
    check_shapes(latent.z, draw.values["z"], per_draw, {"elbo": draw.elbo, "bound": draw.importance_bound})
    assert draw.samples == samples
    torch.testing.assert_close(draw.values["z"], latent.z.flatten(0, 1))


@pytest.mark.parametrize("bottom_up", [False, True])
def test_k_samples_are_k_passes_with_the_same_noise(bottom_up, monkeypatch) -> None:
    model, batch, samples = two_level(bottom_up).double(), {"x": torch.randn(3, 4).double()}, 5
    widths = (2, 3) if bottom_up else (3, 2)
    noise = [torch.randn(samples, 3, width).double() for width in widths]
    where = "torch.distributions.normal._standard_normal"
    monkeypatch.setattr(where, Prepared(*noise))
    together = model(batch, samples)
    for k in range(samples):
        monkeypatch.setattr(where, Prepared(*[each[k] for each in noise]))
        alone = model(batch)
        torch.testing.assert_close(together.log_px[k], alone.log_px[0])
        torch.testing.assert_close(together.kl[k], alone.kl[0])
        torch.testing.assert_close(together.log_weight[k], alone.log_weight[0])
        for name, latent in alone.latents.items():
            torch.testing.assert_close(together.latents[name].z[k], latent.z[0])


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_the_encoder_runs_once_on_the_batch_and_networks_see_one_leading_dimension(samples) -> None:
    model, seen = two_level(), {}
    for name, module in model.named_modules():
        if isinstance(module, pv.Conditional):
            module.net.register_forward_pre_hook(lambda m, inputs, name=name: seen.setdefault(name, []).append(inputs))
    model({"x": torch.randn(3, 4)}, samples)
    assert set(seen) == {"posterior.top", "posterior.low", "prior.low", "heads.x.likelihood"}
    for name, calls in seen.items():
        rows = 3 if name == "posterior.top" else 3 * samples
        assert [[tuple(t.shape) for t in inputs] for inputs in calls] == [[(rows, t.shape[1]) for t in calls[0]]], name


def test_latents_are_drawn_top_first_with_a_closed_form_at_every_level() -> None:
    torch.manual_seed(0)
    model = two_level()
    draw = model({"x": torch.randn(3, 4)}, 6)
    assert list(draw.latents) == ["top", "low"]
    for latent in draw.latents.values():
        assert latent.separate
        assert latent.analytic
        exact = kl_divergence(latent.q, latent.p)
        torch.testing.assert_close(latent.kl, exact.view(-1, 3).expand(6, 3))


def test_bottom_up_inference_takes_the_sampled_divergence_where_the_closed_form_is_wrong() -> None:
    draw = two_level(bottom_up=True)({"x": torch.randn(3, 4)}, 6)
    low, top = draw.latents["low"], draw.latents["top"]
    assert not low.separate
    assert low.analytic_kl is None
    assert not low.analytic
    torch.testing.assert_close(low.kl, low.log_q - low.log_p)
    assert top.separate
    assert top.analytic


# p(b) p(a | b) p(x | a, b) and three ways to infer: from the top, from the bottom, and both at once.
INFERENCES = {
    "top first": {"b": Affine(0.1, 0.8, x=0.4), "a": Affine(-0.2, 0.6, x=0.3, b=0.5)},
    "bottom up": {"a": Affine(0.1, 0.7, x=0.5), "b": Affine(0.2, 0.9, a=0.6, x=0.1)},
    "mean field": {"b": Affine(0.1, 0.8, x=0.4), "a": Affine(-0.2, 0.6, x=0.3)},
    "mean field, bottom first": {"a": Affine(-0.2, 0.6, x=0.3), "b": Affine(0.1, 0.8, x=0.4)},
}


@pytest.mark.parametrize("name", INFERENCES)
def test_two_levels_agree_with_numerical_integration(name) -> None:
    torch.manual_seed(1)
    prior = {"b": Affine(0.0, 1.0, zero=0.0), "a": Affine(0.3, 0.5, b=0.8)}
    model = pv.VAE(INFERENCES[name], prior, Affine(0.1, 0.6, a=1.1, b=-0.4))
    x, zero = torch.tensor([[0.7], [-1.2]]).double(), torch.zeros(2, 1).double()
    axis = torch.linspace(-8, 8, 801).double()
    b, a = (grid.reshape(-1, 1) for grid in torch.meshgrid(axis, axis, indexing="ij"))
    exact, marginal = [], []
    for row in x:
        values = {"a": a, "b": b, "x": row.expand_as(a), "zero": torch.zeros_like(a)}
        log_q = sum(q(values).log_prob(values[n]) for n, q in model.posterior.items())
        log_p = sum(p(values).log_prob(values[n]) for n, p in model.prior.items())
        log_p = log_p + model.heads["x"](values).log_prob(values["x"])
        area = (axis[1] - axis[0]) ** 2
        exact.append((log_q.exp() * (log_p - log_q)).sum() * area)
        marginal.append(log_p.logsumexp(0) + area.log())
    draw = model({"x": x, "zero": zero}, 20_000)
    terms = draw.log_px - draw.kl
    error = terms.std(0) / math.sqrt(len(terms))
    assert ((draw.elbo - torch.stack(exact)).abs() < 4 * error).all()
    spread = (draw.log_weight - draw.importance_bound).exp().std(0) / math.sqrt(len(terms))
    assert ((draw.importance_bound - torch.stack(marginal)).abs() < 4 * spread).all()


def test_a_conditional_prior_reads_the_condition() -> None:
    torch.manual_seed(0)
    prior = part("y", [3], 2)
    model = pv.VAE(part(("x", "y"), [4, 3], 2), prior, part(("z", "y"), [2, 3], 4))
    assert (model.inputs, model.conditions) == (("x", "y"), ("y",))
    batch = {"x": torch.randn(5, 4), "y": torch.randn(5, 3)}
    draw = model(batch, 4)
    latent = draw.latents["z"]
    torch.testing.assert_close(latent.kl, kl_divergence(latent.q, prior(batch)).expand(4, 5))
    torch.testing.assert_close(latent.log_p, prior(batch).log_prob(latent.z))
    # A condition far out moves the samples of its own rows.
    far = {"y": torch.stack([torch.zeros(3), torch.full((3,), 1e3)])}
    means = prior(far).mean
    z = model.sample_latents(far, 500)["z"].unflatten(0, (500, 2)).mean(0)
    assert (z - means).norm(dim=1).lt(0.1 * means.norm(dim=1) + 0.3).all()
    assert (means[0] - means[1]).norm() > 10


def test_generate_gives_count_rows_for_each_condition() -> None:
    model = plain()
    assert model.conditions == ()
    assert model.generate()["x"].mean.shape == (1, 4)
    assert model.generate(count=6)["x"].mean.shape == (6, 4)
    assert two_level().generate(count=6)["x"].mean.shape == (6, 4)
    assert two_level().sample_latents(count=6)["low"].shape == (6, 2)
    conditional = pv.VAE(part("x", [4], 2), Mixture(2, 3), part(("z", "y"), [2, 3], 4))
    y = torch.randn(2, 3)
    latents = conditional.sample_latents({"y": y}, 3)
    torch.testing.assert_close(latents["y"], torch.cat([y, y, y]))
    assert conditional.generate({"y": y}, 3)["x"].mean.shape == (6, 4)


def test_generate_samples_the_model() -> None:
    torch.manual_seed(2)
    prior = {"b": Affine(0.5, 1.0, zero=0.0), "a": Affine(0.3, 0.5, b=0.8)}
    model = pv.VAE(INFERENCES["top first"], prior, Affine(0.1, 0.6, a=1.1, b=-0.4))
    means = model.generate({"zero": torch.zeros(1, 1).double()}, 20_000)["x"].mean
    # x's mean is 0.1 + 1.1 a - 0.4 b with a = 0.3 + 0.8 b + noise
    assert means.mean().item() == pytest.approx(0.1 + 1.1 * 0.3 + 0.48 * 0.5, abs=0.03)
    assert means.var().item() == pytest.approx(0.48**2 + (1.1 * 0.5) ** 2, abs=0.03)


def test_encode_and_reconstruct_are_deterministic_and_leave_no_trace() -> None:
    model, batch = two_level(), {"x": torch.randn(3, 4)}
    before, state = dict(batch), torch.get_rng_state()
    first, second = model.encode(batch), model.encode(batch)
    again, once_more = model.reconstruct(batch)["x"].mean, model.reconstruct(batch)["x"].mean
    assert torch.equal(torch.get_rng_state(), state)
    assert batch == before
    assert all(torch.equal(first[name].mean, second[name].mean) for name in ("top", "low"))
    assert torch.equal(again, once_more)
    # The lower posterior is given the mean of the upper one.
    lower = model.posterior["low"]({**batch, "top": first["top"].mean})
    torch.testing.assert_close(first["low"].mean, lower.mean)
    means = {name: q.mean for name, q in first.items()}
    torch.testing.assert_close(again, model.decode(means)["x"].mean)


def test_heads_have_a_value_a_weight_and_rows_they_count_in() -> None:
    torch.manual_seed(0)
    heads = {
        "x": part("z", [2], 4),
        "again": pv.Head(part("z", [2], 4, PixelNormal("learned")), of="x", weight=0.25),
        "tags": pv.Head(part("z", [2], 3, Bernoulli()), of="t", weight=2.0, where="seen"),
    }
    model = pv.VAE(part("x", [4], 2), StandardNormal(2), heads)
    assert model.inputs == ("seen", "t", "x")
    assert model.conditions == ()
    seen = torch.tensor([True, False, True])
    draw = model({"x": torch.randn(3, 4), "t": torch.rand(3, 3).round(), "seen": seen}, 2)
    scores = {name: head.log_p for name, head in draw.heads.items()}
    z = draw.latents["z"].z
    for name, head in draw.heads.items():
        full = torch.stack([heads[name]({"z": z[k]}).log_prob(head.x) for k in range(2)])
        torch.testing.assert_close(scores[name], full * seen if name == "tags" else full)
    torch.testing.assert_close(draw.log_px, scores["x"] + scores["tags"])
    weighted = scores["x"] + 0.25 * scores["again"] + 2 * scores["tags"]
    torch.testing.assert_close(Reconstruction()(draw), -weighted)
    assert set(model.reconstruct({"x": torch.randn(3, 4)})) == set(heads)


def test_any_module_goes_in_where_a_network_goes() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x @ self.weight + y

    decoder = pv.Conditional(nn.Linear(2, 4), PixelNormal(1.0), "z")
    model = pv.VAE(pv.Conditional(Sum(), DiagonalNormal(), ("x", "y")), StandardNormal(2), decoder)
    values = pv.Objective()(model, {"x": torch.randn(3, 4), "y": torch.randn(3, 4)})
    values["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    # nothing but the call and `given` is asked of a prior either
    own = pv.VAE({"z": Affine(0.0, 1.0, x=0.5)}, {"z": Affine(0.0, 1.0, y=0.5)}, {"x": Affine(0.0, 1.0, z=1.0)})
    assert own.inputs == ("x", "y")
    batch = {"x": torch.randn(3, 1).double(), "y": torch.randn(3, 1).double()}
    torch.testing.assert_close(own(batch).kl, (0.5 * (0.5 * (batch["x"] - batch["y"])) ** 2).T)


def test_parts_may_come_as_module_dicts_and_a_bare_part_has_its_usual_name() -> None:
    model = pv.VAE(nn.ModuleDict({"code": part("x", [4], 2)}), {"code": StandardNormal(2)}, part("code", [2], 4))
    assert list(model({"x": torch.randn(2, 4)}).latents) == ["code"]
    bare = plain()
    draw = bare({"x": torch.randn(2, 4)})
    assert (list(draw.latents), list(draw.heads)) == (["z"], ["x"])


def test_what_is_given_is_checked_when_the_model_is_made() -> None:
    q, p, likelihood = part("x", [4], 2), StandardNormal(2), part("z", [2], 4)
    with pytest.raises(ValueError, match=r"posteriors \['z'\] and priors \['w'\] must name the same latents"):
        pv.VAE(q, {"w": p}, likelihood)
    with pytest.raises(ValueError, match=r"the posterior of 'a' is given \['b'\], not drawn before it; the order is"):
        pv.VAE({"a": part(("x", "b"), [4, 2], 2), "b": q}, {"b": p, "a": p}, part(("a", "b"), [2, 2], 4))
    with pytest.raises(ValueError, match=r"the prior of 'a' is given \['b'\], not drawn before it"):
        pv.VAE({"b": q, "a": q}, {"a": part("b", [2], 2), "b": p}, part("a", [2], 4))
    with pytest.raises(ValueError, match=r"the posterior of 'z' is given \['z'\]"):
        pv.VAE(part(("x", "z"), [4, 2], 2), p, likelihood)
    with pytest.raises(ValueError, match=r"\['x'\] name both a latent and an observed value"):
        pv.VAE({"x": part("y", [4], 2)}, {"x": p}, {"y": part("x", [2], 4), "x": part("x", [2], 2)})


def test_what_is_missing_is_named() -> None:
    conditional = pv.VAE(part(("x", "y"), [4, 3], 2), part("y", [3], 2), part(("z", "y"), [2, 3], 4))
    for call in (conditional, conditional.encode):
        with pytest.raises(KeyError, match=r"the model needs \['y'\], the batch holds \['x'\]"):
            call({"x": torch.randn(2, 4)})
    with pytest.raises(KeyError, match=r"the model needs \['y'\]"):
        conditional.generate(count=2)
    with pytest.raises(KeyError, match=r"the model needs \['z'\]"):
        conditional.decode({"y": torch.randn(2, 3)})


def test_values_that_no_part_reads_pass_through() -> None:
    batch = {"x": torch.randn(2, 4), "name": torch.arange(2)}
    draw = plain()(batch, 3)
    assert draw.values["name"] is batch["name"]
    assert set(draw.values) == {"x", "name", "z"}


def test_half_precision_networks_are_scored_in_single() -> None:
    net = nn.Linear(4, 4).to(torch.bfloat16)
    law = pv.Conditional(net, DiagonalNormal(), "x")({"x": torch.randn(2, 4, dtype=torch.bfloat16)})
    assert law.mean.dtype == torch.float32


def test_repr_shows_what_is_given_and_how_a_head_counts() -> None:
    text = repr(pv.VAE(part("x", [4], 2), StandardNormal(2), {"b": pv.Head(part("z", [2], 4), "x", 0.5, "seen")}))
    for piece in ("given=('x',)", "of='x', weight=0.5, where='seen'", "StandardNormal(2)", "DiagonalNormal"):
        assert piece in text


def test_rows_that_are_not_scored_may_hold_anything() -> None:
    net = nn.Linear(2, 3)
    head = pv.Head(pv.Conditional(net, Bernoulli(), given="z"), of="x", where="seen")
    q = pv.Conditional(nn.Linear(1, 4), DiagonalNormal(), given="u")
    x = torch.ones(4, 3)
    x[2] = torch.nan
    batch = {"x": x, "u": torch.randn(4, 1), "seen": torch.tensor([True, True, False, True])}
    draw = pv.VAE(q, StandardNormal(2), {"x": head})(batch, samples=3)
    draw.elbo.sum().backward()
    assert (draw.heads["x"].log_p[:, 2] == 0).all()
    assert net.weight.grad is not None
    assert net.weight.grad.isfinite().all()


def test_of_two_heads_of_one_value_the_first_enters_every_bound() -> None:
    torch.manual_seed(0)
    heads = {"x": part("z", [2], 4), "second": pv.Head(part("z", [2], 4), of="x", weight=3.0)}
    model = pv.VAE(part("x", [4], 2), StandardNormal(2), heads)
    batch = {"x": torch.randn(5, 4)}
    draw = model(batch, 2)
    assert draw.heads["second"].of == "x"
    assert model.bounded_given == ()
    assert torch.equal(draw.log_px, draw.heads["x"].log_p)
    chosen = {name: Reconstruction(heads=(name,))(draw) for name in heads}
    assert torch.equal(chosen["second"], -3 * draw.heads["second"].log_p)
    assert torch.allclose(Reconstruction()(draw), chosen["x"] + chosen["second"])
    alone = pv.VAE(model.posterior, model.prior, heads["x"])
    data = pv.data.wrap(batch, validation=1)
    both, one = (pv.evaluation.both_bounds(m, data.train, samples=3) for m in (model, alone))
    assert torch.equal(both.plain, one.plain)
    assert torch.equal(both.importance, one.importance)
    assert set(both.heads) == {"x", "second"}
    assert pv.evaluate(model, data.train, samples=3)["dimensions"] == 4


def test_integer_codes_are_embedded_before_they_are_decoded() -> None:
    class Table(nn.Module):
        given = ("x",)

        def embed(self, codes: Tensor) -> Tensor:
            return torch.stack([codes, codes.square()], 1).float()

    model = pv.VAE(Table(), StandardNormal(2), part("z", [2], 4))
    codes = torch.arange(3)
    embedded = torch.stack([codes, codes.square()], 1).float()
    assert torch.equal(model.decode({"z": codes})["x"].mean, model.decode({"z": embedded})["x"].mean)


def test_what_the_bounds_are_conditional_on_is_named() -> None:
    prior, plain_head = part("y", [3], 2), part("z", [2], 4)
    seeing = pv.Head(part(("z", "m"), [2, 5], 4), of="x")
    q = part("x", [4], 2)
    assert pv.VAE(q, StandardNormal(2), {"x": plain_head, "x_given_m": seeing}).bounded_given == ()
    assert pv.VAE(q, StandardNormal(2), {"x_given_m": seeing, "x": plain_head}).bounded_given == ("m",)
    assert pv.VAE(q, prior, {"x": seeing}).bounded_given == ("m", "y")
    model = pv.VAE(q, prior, plain_head)
    data = pv.data.wrap({"x": torch.randn(6, 4), "y": torch.randn(6, 3)}, validation=1)
    report = pv.evaluate(model, data.train, samples=2, spec=data.spec)
    assert report["given"] == ["y"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(pv.evaluation.table(report))
    assert "plain bound on log p(x | y)" in console.export_text()
