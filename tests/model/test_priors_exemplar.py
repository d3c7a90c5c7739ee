"""The exemplar prior: whose mixture it is, what it is filled with, and that an example does not hide in itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import polyvae as pv
from polyvae.model.families.real import DiagonalNormal, FullNormal
from polyvae.model.networks import mlp
from polyvae.model.priors.exemplar import ExemplarPrior, hashed
from polyvae.model.priors.mixture import VampPrior


def encoder(given: str | tuple[str, ...] = "x", family: pv.Family | None = None) -> pv.Conditional:
    family = family or DiagonalNormal()
    shapes = [(4,), (3,)][: 1 if isinstance(given, str) else 2]
    return pv.Conditional(mlp(shapes, (family.size(2),), (6,)), family, given).double()


def filled(q: pv.Conditional, x: Tensor, exemplars: int) -> ExemplarPrior:
    prior = ExemplarPrior(q, {"x": (4,)}, exemplars).double()
    prior.start({"x": x})
    return prior


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape).double()


@pytest.mark.parametrize("family", [DiagonalNormal(), FullNormal()])
def test_trap16_with_one_exemplar_it_is_that_posterior(family: pv.Family) -> None:
    torch.manual_seed(0)
    q, x, z = encoder(family=family), randn(5, 4), randn(3, 6, 2)
    prior = filled(q, x, 1).eval()
    law = q({"x": x[:1]})
    torch.testing.assert_close(prior({}).log_prob(z), law.log_prob(z.reshape(18, 2)).view(3, 6))
    # also in training, and for the example itself: a sum of nothing is no law
    prior.train()
    torch.testing.assert_close(prior({"x": x[:1]}).log_prob(z[:, :1]), law.log_prob(z[:, :1]))


def test_it_is_the_mean_of_the_posteriors_at_its_examples_and_equals_a_vamp_prior_there() -> None:
    torch.manual_seed(0)
    q, x, z = encoder(), randn(7, 4), randn(5, 3, 2)
    prior = filled(q, x, 4).eval()
    each = torch.stack([q({"x": x[m : m + 1]}).log_prob(z.reshape(15, 2)) for m in range(4)])
    torch.testing.assert_close(prior({}).log_prob(z), (each.logsumexp(0) - math.log(4)).view(5, 3))
    torch.testing.assert_close(prior({}).log_prob(z), VampPrior(q, {"x": x[:4]})({}).log_prob(z))


def test_an_example_is_left_out_of_its_own_sum_in_training_alone() -> None:
    torch.manual_seed(0)
    q, x = encoder(), randn(6, 4)
    prior = filled(q, x[:4], 4)
    z = q({"x": x}).sample((3,))
    each = torch.stack([q({"x": x[m : m + 1]}).log_prob(z.reshape(18, 2)).view(3, 6) for m in range(4)])
    expected = each.logsumexp(0) - math.log(4)
    torch.testing.assert_close(prior.eval()({"x": x}).log_prob(z), expected)
    for b in range(4):
        others = [m for m in range(4) if m != b]
        expected[:, b] = each[others, :, b].logsumexp(0) - math.log(3)
    torch.testing.assert_close(prior.train()({"x": x}).log_prob(z), expected)
    assert prior({"x": x}).batch_shape == (6,)
    assert prior({}).batch_shape == ()  # where it generates


class Shapes(TorchDispatchMode):
    """The shapes of all that is computed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.Size] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.seen |= {made.shape} if isinstance(made, Tensor) else set()
        return made


def test_the_gradient_holds_no_copy_of_the_examples_laws_for_each_row() -> None:
    torch.manual_seed(0)
    q, x = encoder(), randn(6, 4)
    cost = filled(q, x, 5)({"x": x}).log_prob(q({"x": x}).rsample((3,))).sum()
    with Shapes() as shapes:
        cost.backward()
    assert torch.Size([5, 2]) in shapes.seen
    assert torch.Size([6, 5, 2]) not in shapes.seen


def test_fewer_examples_than_places_make_a_sum_over_those() -> None:
    torch.manual_seed(0)
    q, x, z = encoder(), randn(3, 4), randn(5, 2)
    torch.testing.assert_close(filled(q, x, 8).eval()({}).log_prob(z), filled(q, x, 3).eval()({}).log_prob(z))
    drawn = filled(q, x, 8).eval()({}).sample((50,))
    assert drawn.isfinite().all()


def test_rows_have_one_number_whatever_stands_beside_them() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(40, 784), torch.eye(40)
    whole = hashed([x, y])
    for rows in ([3], [3, 9, 3], list(range(39, -1, -1))):
        assert torch.equal(hashed([x[rows], y[rows]]), whole[rows])
    assert len(whole.unique()) == 40
    assert hashed([x.double()]).equal(hashed([x]))
    moved = x.clone()
    moved[:, 100] += 1e-6
    assert not (hashed([moved]) == hashed([x])).any()


def test_a_recipe_fills_it_with_training_examples_and_a_saved_run_keeps_them(tmp_path) -> None:
    x = (torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    y = torch.arange(60) % 3
    made = pv.recipes.exemplar_prior(pv.Spec((1, 4, 4), classes=3), components=20, latent=2, widths=(6,), seed=0,
                                     condition=True)  # fmt: skip
    data = pv.data.wrap((x, y), validation=15, test=0)
    run = pv.fit(made, data, tmp_path / "run", epochs=3, batch_size=15, device="cpu", progress=False)
    prior = run.model.prior["z"]
    stored = prior.stored()
    assert prior.count.item() == 20
    train = data.train.tensors["x"].flatten(1)
    for row, label in zip(stored["x"].flatten(1), stored["y"], strict=True):
        alike = (train == row).all(1)
        assert alike.any()
        assert (data.train.tensors["y"][alike] == label.argmax()).any()
    again = pv.Run.load(tmp_path / "run").model.prior["z"]
    assert torch.equal(again.stored()["x"], stored["x"])
    assert not any(name.startswith("stored") for name, _ in prior.named_parameters())


def test_a_bare_model_with_it_starts_from_data_too() -> None:
    q = pv.Conditional(mlp([(4,)], (4,), (6,)), DiagonalNormal(), "x")
    p = pv.Conditional(mlp([(2,)], (8,), (6,)), DiagonalNormal(), "z")
    x = torch.randn(40, 4)
    run = pv.fit(pv.VAE(q, ExemplarPrior(q, {"x": (4,)}, 5), p), x, epochs=1, device="cpu", progress=False)
    held = run.model.prior["z"].stored()["x"]
    assert (held[:, None] == x).all(-1).any(1).all()


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the posterior reads \['x', 'y'\], shapes are given for \['x'\]"):
        ExemplarPrior(encoder(("x", "y")), {"x": (4,)})
    with pytest.raises(ValueError, match="exemplars is at least 1; got 0"):
        ExemplarPrior(encoder(), {"x": (4,)}, 0)
    with pytest.raises(ValueError, match="posterior: a point has no density"):
        pv.recipes.vae((4,), prior="exemplar", posterior="point", network="mlp")
