from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.model.families.real import DiagonalNormal, PixelNormal
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.schedules import Cyclical, Linear
from polyvae.objectives.terms import KL, Reconstruction


def small(heads: int = 1) -> pv.VAE:
    def head() -> pv.Conditional:
        return pv.Conditional(mlp([(2,)], (4,), (5,)), PixelNormal(0.7), "z")

    q = pv.Conditional(mlp([(4,)], (4,), (5,)), DiagonalNormal(), "x")
    likelihood = {f"head {i}": pv.Head(head(), "x", weight=i + 0.5) for i in range(heads)} if heads > 1 else head()
    return pv.VAE(q, StandardNormal(2), likelihood).double()


def batch(rows: int = 5) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, 4).double()}


def values_of(objective: nn.Module, model: pv.VAE, given: pv.Values, step: int | Tensor = 0) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return objective(model, given, step)


def gradients(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


SCHEDULES = {
    "linear": (Linear(2.0, 6.0, 8), {0: 2.0, 2: 3.0, 8: 6.0, 100: 6.0}),
    "linear down": (Linear(1.0, 0.0, 4), {0: 1.0, 1: 0.75, 4: 0.0, 9: 0.0}),
    "cyclical": (Cyclical(0.0, 4.0, 8, 0.5), {0: 0.0, 1: 1.0, 4: 4.0, 7: 4.0, 8: 0.0, 18: 2.0}),
    "cyclical all the way": (Cyclical(1.0, 3.0, 4, 1.0), {0: 1.0, 2: 2.0, 3: 2.5, 4: 1.0}),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_take_numbers_and_tensors(name) -> None:
    schedule, expected = SCHEDULES[name]
    for step, value in expected.items():
        assert schedule(step) == pytest.approx(value)
        on_device = schedule(torch.tensor(step))
        assert isinstance(on_device, Tensor)
        assert on_device.item() == pytest.approx(value)


def test_schedules_refuse_empty_spans() -> None:
    for make in (lambda: Linear(0.0, 1.0, 0), lambda: Cyclical(0.0, 1.0, 0), lambda: Cyclical(0.0, 1.0, 5, 0.0)):
        with pytest.raises(ValueError, match="at least 1"):
            make()


def test_the_default_objective_is_the_negative_bound() -> None:
    model, given = small(), batch()
    values = values_of(pv.Objective(samples=3), model, given)
    assert list(values) == ["loss", "reconstruction", "kl", "bound"]
    torch.manual_seed(0)
    draw = model(given, 3)
    torch.testing.assert_close(values["loss"], -draw.elbo.mean())
    torch.testing.assert_close(values["bound"], draw.elbo.mean())
    torch.testing.assert_close(values["reconstruction"], -draw.log_px.mean())
    torch.testing.assert_close(values["kl"], draw.kl.mean())
    assert values["loss"].requires_grad
    assert not any(values[name].requires_grad for name in ("reconstruction", "kl", "bound"))


@pytest.mark.parametrize("step", [0, 5, 1000, torch.tensor(5)])
def test_weights_and_schedules_move_the_loss_but_no_report(step) -> None:
    model, given = small(), batch()
    schedule = Linear(0.0, 3.0, 10)
    plain = values_of(pv.Objective(), model, given)
    terms = {"reconstruction": pv.Weighted(Reconstruction(), 0.5), "kl": pv.Weighted(KL(), schedule)}
    weighted = values_of(pv.Objective(terms), model, given, step)
    for name in ("reconstruction", "kl", "bound"):
        torch.testing.assert_close(weighted[name], plain[name])
    expected = 0.5 * plain["reconstruction"] + schedule(int(step)) * plain["kl"]
    torch.testing.assert_close(weighted["loss"].detach(), expected)


@pytest.mark.parametrize("step", [0, 5, 50])
def test_capacity_is_the_distance_of_each_examples_divergence(step) -> None:
    model, given = small(), batch()
    torch.manual_seed(0)
    draw = model(given)
    top = draw.kl.median().item()  # some examples end above it, some below
    terms = {"reconstruction": Reconstruction(), "kl": pv.Weighted(KL(), 30.0, target=Linear(0.0, top, 10))}
    values = values_of(pv.Objective(terms), model, given, step)
    capacity = top * min(step / 10, 1)
    expected = -draw.log_px.mean().item() + sum(30 * abs(kl - capacity) for kl in draw.kl[0].tolist()) / 5
    assert values["loss"].item() == pytest.approx(expected)
    assert values["kl"].item() == pytest.approx(draw.kl.mean().item())


def test_a_plain_function_serves_as_a_term() -> None:
    model, given = small(), batch()
    objective = pv.Objective(
        {"reconstruction": Reconstruction(), "size": lambda draw: draw.latents["z"].z.square().mean()}
    )
    values = values_of(objective, model, given)
    torch.testing.assert_close(values["loss"].detach(), values["reconstruction"] + values["size"])


def test_head_weights_enter_the_loss_and_not_the_bound() -> None:
    model, given = small(heads=2), batch()
    values = values_of(pv.Objective(), model, given)
    torch.manual_seed(0)
    draw = model(given)
    first, second = (draw.heads[f"head {i}"].log_p.mean() for i in range(2))
    torch.testing.assert_close(values["bound"], first - draw.kl.mean())  # two heads of one x: the first is the model's
    torch.testing.assert_close(values["loss"], -0.5 * first - 1.5 * second + draw.kl.mean())


def test_the_importance_weighted_loss_is_the_logarithm_of_the_mean_weight() -> None:
    model, given = small(), batch()
    values = values_of(pv.ImportanceWeighted(4), model, given)
    torch.manual_seed(0)
    draw = model(given, 4)
    z = draw.latents["z"]
    weights = (draw.log_px + z.log_p - z.log_q).exp()
    torch.testing.assert_close(values["loss"], -weights.mean(0).log().mean())
    torch.testing.assert_close(values["bound"], draw.elbo.mean())
    assert list(values) == ["loss", "reconstruction", "kl", "bound"]


def test_the_importance_weighted_gradient_is_that_of_self_normalised_weights() -> None:
    model, given = small(), batch()
    torch.manual_seed(3)
    found = gradients(pv.ImportanceWeighted(6)(model, given)["loss"], model)
    torch.manual_seed(3)
    draw = model(given, 6)
    weights = (draw.log_weight - draw.log_weight.logsumexp(0)).exp().detach()
    torch.testing.assert_close(weights.sum(0), torch.ones(5).double())
    expected = gradients(-(weights * draw.log_weight).sum(0).mean(), model)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_more_samples_average_the_same_cost() -> None:
    torch.manual_seed(0)
    model, given = small(), batch(2)
    one = torch.stack([pv.Objective()(model, given)["loss"].detach() for _ in range(500)])
    many = pv.Objective(samples=2000)(model, given)["loss"].detach()
    assert (many - one.mean()).abs() < 6 * one.std() / 500**0.5


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a term may not be named \['loss'\]"):
        pv.Objective({"loss": KL()})
    with pytest.raises(ValueError, match="at least one term"):
        pv.Objective({})
    for make in (pv.Objective, pv.ImportanceWeighted):
        with pytest.raises(ValueError, match="samples counts draws of the latents, at least 1; got 0"):
            make(samples=0)


def test_repr_shows_weights_and_samples() -> None:
    text = repr(pv.Objective({"kl": pv.Weighted(KL(), 4.0, target=1.0)}))
    assert "weight=4.0, target=1.0" in text
    assert "samples=5" in repr(pv.ImportanceWeighted(5))


def test_below_a_floor_nothing_presses_a_term_and_its_value_is_told_as_it_is() -> None:
    value = torch.tensor([[1.0, 2.0], [4.0, 5.0]], requires_grad=True)
    for floor, cost, slope in ((0.0, 6.0, 0.5), (2.5, 6.0, 0.5), (3.5, 7.0, 0.0)):
        weighted = pv.Weighted(KL(), 2.0, floor=floor)
        value.grad = None
        found = weighted(value, 0)
        found.backward()
        assert found.item() == cost
        torch.testing.assert_close(value.grad, torch.full((2, 2), slope))
    assert pv.Weighted(KL()).plain
    assert not pv.Weighted(KL(), floor=1.0).plain
    assert "floor=1.0" in repr(pv.Weighted(KL(), floor=1.0))
    with pytest.raises(ValueError, match="floor is a value of the term, at least 0"):
        pv.Weighted(KL(), floor=-1.0)
