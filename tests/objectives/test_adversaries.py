"""Games over x: who moves whom, what each side costs, and what tells of a collapse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F

import polyvae as pv
from helpers.runs import pictures, small
from polyvae.model.draw import Draw, Latent, Observed
from polyvae.model.networks.discriminator import Discriminator, Judging
from polyvae.objectives import (
    Certainty,
    ClassifierCost,
    Deceived,
    FeatureLikelihood,
    Judged,
    MeanFeatures,
    Reconstruction,
    Slope,
    Spread,
)
from polyvae.objectives.adversaries import GAMES
from polyvae.objectives.decoded import decoded

DATA = pictures(labels=True)
NAMES = ["vae_gan", "cvae_gan", "zero_shot_vae_gan"]
GAMMA = 0.3


class Features(nn.Module):
    """A critic with features A x and the logit w . x."""

    def __init__(self, size: int, features: int = 3) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(features, size))
        self.vector = nn.Parameter(torch.randn(size))

    def forward(self, x: Tensor, *beside: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        return flat @ self.matrix.T, (flat @ self.vector)[:, None]


def sides(made: pv.Recipe) -> dict[str, list[nn.Parameter]]:
    """The parameters that learn, by who learns."""
    critics = [each for each in made.objective.modules() if isinstance(each, Discriminator)]
    return {
        "encoder": list(made.model.posterior.parameters()),
        "decoder": list(made.model.heads.parameters()),
        **{f"critic {number}": list(critic.parameters()) for number, critic in enumerate(critics)},
    }


def drawn(made: pv.Recipe, samples: int = 2, rows: int = 8) -> pv.Draw:
    torch.manual_seed(0)
    return made.model(made.observe(DATA.train.batch(torch.arange(rows))), samples)


def gradients(cost: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    return list(torch.autograd.grad(cost, parameters, retain_graph=True, allow_unused=True))


def with_data(x: Tensor, made: Tensor, y: Tensor | None = None, samples: int = 1) -> Draw:
    """A draw of data x whose decoder gives `made` [K * B, ...] at any code."""
    z = torch.zeros(samples, len(x), 2)
    law = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    head = Independent(Normal(made, torch.ones(())), made.ndim - 1)
    values = {"x": x, "z": z.flatten(0, 1), **({} if y is None else {"y": y})}
    return Draw(
        samples,
        values,
        {"z": Latent(law, law, z, z)},
        {"x": Observed(head, x, head.log_prob(made).view(samples, -1), 1.0)},
        decode=lambda values: {"x": head},
    )


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        (
            "vae_gan",
            {
                "features": "encoder decoder",
                "kl": "encoder",
                "reconstruction": "encoder decoder",
                "adversary": "decoder",
                "critic": "critic 0",
            },
        ),
        (
            "cvae_gan",
            {
                "reconstruction": "encoder decoder",
                "kl": "encoder",
                "features": "encoder decoder",
                "class_features": "encoder decoder",
                "mean": "decoder",
                "class_mean": "decoder",
                "classifier": "critic 1",
                "critic": "critic 0",
            },
        ),
        (
            "zero_shot_vae_gan",
            {
                "reconstruction": "encoder decoder",
                "kl": "encoder",
                "adversary": "decoder",
                "critic": "critic 0",
                "slope": "critic 0",
            },
        ),
    ],
)
@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_trap_14_each_term_moves_its_own_sides_and_leaves_the_others_gradients_none(
    name: str, moves: dict[str, str], posterior: str
) -> None:
    options: dict[str, Any] = {"pixel_weight": 1.0} if name == "vae_gan" else {}
    made = small(name, DATA, posterior=posterior, r1=1.0, critic=[4], **options)
    terms: Any = made.objective.terms
    for term in terms:
        cost, moved = terms[term].term(drawn(made)).mean(), {**moves, "r1": "critic 0"}.get(term, "")
        for side, parameters in sides(made).items():
            found = gradients(cost, parameters) if cost.requires_grad else [None] * len(parameters)
            if side in moved:
                assert any(each is not None and bool(each.any()) for each in found), (term, side)
            else:
                assert all(each is None for each in found), (term, side)
    own = {term for term in terms if not getattr(terms[term].term, "trains_model", True)}
    assert {*moves, "r1", *own} == {*terms}
    assert made.objective.apart == own  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("game", ["minimax", "non-saturating"])
@pytest.mark.parametrize("samples", [1, 3])
def test_one_backward_pass_gives_the_three_gradients_of_larsens_algorithm(game: str, samples: int) -> None:
    made = small(
        "vae_gan",
        DATA,
        gamma=GAMMA,
        feature_scale=1.0,
        game=game,
        critic=[5],
        likelihood="normal",
        network="conv",
        widths=[4],
    )
    model, objective = made.model.double(), made.objective.double()
    assert isinstance(objective, pv.Objective)
    objective.samples = samples
    batch = {name: value.double() for name, value in made.observe(DATA.train.batch(torch.arange(8))).items()}
    torch.manual_seed(3)
    objective(model, batch)["loss"].backward()
    parts = sides(made)
    found = {side: [each.grad.clone() for each in own] for side, own in parts.items()}  # pyright: ignore

    torch.manual_seed(3)
    draw = model(batch, samples)
    codes = draw.values["z"]
    x = batch["x"].repeat(samples, 1, 1, 1)
    z_p = torch.randn_like(codes)
    decode = lambda z: model.decode({"z": z})["x"].mean  # noqa: E731
    terms: Any = objective.terms
    critic = terms["critic"].term.critic
    like = 0.5 * ((critic(x)[0] - critic(decode(codes))[0]).square() + math.log(2 * math.pi)).sum(1).mean()
    play = lambda c: F.softplus(c).mean()  # noqa: E731
    real, rebuilt, new = (critic(each)[1] for each in (x, decode(codes), decode(z_p)))
    gan = play(-real) + play(rebuilt) + play(new)
    fooling = -gan if game == "minimax" else play(-rebuilt) + play(-new)
    wanted = {
        "encoder": gradients(draw.kl.mean() + like, parts["encoder"]),
        "decoder": gradients(GAMMA * like + fooling, parts["decoder"]),
        "critic 0": gradients(gan, parts["critic 0"]),
    }
    for side, own in wanted.items():
        for mine, theirs in zip(found[side], own, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-8)


def test_a_likelihood_in_features_that_are_the_pixels_is_the_normal_likelihood() -> None:
    made = small("vae", DATA, likelihood=pv.families.PixelNormal(1.0))
    draw, critic = drawn(made, samples=3), Features(16, 16)
    with torch.no_grad():
        critic.matrix.copy_(torch.eye(16))
    for encoder in (1.0, 0.1):
        torch.testing.assert_close(FeatureLikelihood(critic, encoder=encoder)(draw), Reconstruction()(draw))
    with pytest.raises(ValueError, match="encoder is a positive factor of a gradient; got 0"):
        FeatureLikelihood(critic, encoder=0.0)


@pytest.mark.parametrize("game", GAMES)
def test_costs_of_a_game_are_those_of_its_logits(game: str) -> None:
    torch.manual_seed(0)
    x, made = torch.randn(6, 4), torch.randn(12, 4)
    draw, critic = with_data(x, made, samples=2), Features(4)
    real, fake = x @ critic.vector, (made @ critic.vector).view(2, 6)
    p, q = real.sigmoid(), fake.sigmoid()
    costs = {
        "minimax": (-p.log() - 2 * (1 - q).log(), 2 * (1 - q).log()),
        "non-saturating": (-p.log() - 2 * (1 - q).log(), -2 * q.log()),
        "hinge": (F.relu(1 - real) + 2 * F.relu(1 + fake), -2 * fake),
        "wasserstein": (-real + 2 * fake, -2 * fake),
    }
    torch.testing.assert_close(Judged(critic, game)(draw), costs[game][0])
    torch.testing.assert_close(Deceived(critic, game)(draw), costs[game][1])
    torch.testing.assert_close(Judged(critic, game, ["prior"])(draw), (costs[game][0] + GAMES[game].data(real)) / 2)
    torch.testing.assert_close(Certainty(critic)(draw), (p.mean() + (1 - q).mean()) / 2)
    for wrong in ((), ("data",)):
        with pytest.raises(ValueError, match="sources are reconstruction and prior, or one of them"):
            Judged(critic, game, wrong)  # pyright: ignore


def test_the_slope_of_a_linear_critic_is_the_length_of_its_vector() -> None:
    draw, critic = with_data(torch.randn(5, 4), torch.randn(5, 4)), Features(4)
    length = critic.vector.norm()
    torch.testing.assert_close(Slope(critic)(draw), (0.5 * length.square()).expand(5))
    torch.testing.assert_close(Slope(critic, "between")(draw), (length - 1).square().expand(5))
    (found,) = torch.autograd.grad(Slope(critic)(draw).mean(), critic.vector)
    torch.testing.assert_close(found, critic.vector.detach())
    with torch.no_grad():
        assert Slope(critic)(draw).isfinite().all()
        critic.vector.zero_()
    (flat,) = torch.autograd.grad(Slope(critic, "between")(draw).mean(), critic.vector)
    assert flat.isfinite().all()


def test_slopes_of_a_network_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    critic = Discriminator([(1, 4, 4), (2,)], judging=Judging((3,))).double()
    x, y = torch.randn(3, 1, 4, 4).double(), torch.randn(3, 2).double()
    found = Slope(critic, "data", ["y"])(with_data(x, x, y))
    steps = 1e-6 * torch.eye(16).double().view(16, 1, 1, 4, 4)
    slopes = torch.stack([(critic(x + step, y)[1] - critic(x - step, y)[1])[:, 0] / 2e-6 for step in steps])
    torch.testing.assert_close(found, 0.5 * slopes.square().sum(0), rtol=1e-6, atol=1e-9)


def test_mean_features_are_matched_as_a_whole_and_class_by_class() -> None:
    torch.manual_seed(0)
    y = F.one_hot(torch.tensor([0, 1, 0, 2, 1, 0]), 3).float()
    x, made, critic = torch.randn(6, 4), torch.randn(6, 4), Features(4)
    draw = with_data(x, made, y)
    apart = (x - made) @ critic.matrix.T
    torch.testing.assert_close(MeanFeatures(critic)(draw), (0.5 * apart.mean(0).square().sum()).expand(6))
    each = [0.5 * apart[y[:, k] == 1].mean(0).square().sum() for k in range(3)]
    torch.testing.assert_close(MeanFeatures(critic, ["y"])(draw), torch.stack(each)[y.argmax(1)])
    single = with_data(x, made, torch.randn(6, 2))
    torch.testing.assert_close(MeanFeatures(critic, ["y"])(single), 0.5 * apart.square().sum(1))


def test_a_classifier_costs_the_logarithm_of_its_probability_or_a_squared_error() -> None:
    x, y = torch.randn(5, 4), F.one_hot(torch.tensor([0, 1, 2, 1, 0]), 3).float()
    classifier = Discriminator([(4,)], 3, Judging((6,)))
    logits = classifier(x)[1]
    wanted = -logits.log_softmax(1).gather(1, y.argmax(1)[:, None])[:, 0]
    torch.testing.assert_close(ClassifierCost(classifier)(with_data(x, x, y)), wanted)
    found = ClassifierCost(classifier, labels=False)(with_data(x, x, y))
    torch.testing.assert_close(found, 0.5 * (logits - y).square().sum(1))


def test_spread_compares_distances_of_draws_and_of_data_within_a_class() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 4)
    assert Spread()(with_data(x, 0.5 * torch.randn(400, 4))).item() == pytest.approx(0.25, rel=0.1)
    assert Spread()(with_data(x, torch.ones(400, 4))).item() == pytest.approx(0.0, abs=1e-6)
    for alike in (x[:1], torch.ones(3, 4)):
        assert Spread()(with_data(alike, torch.randn(len(alike), 4))).item() == 1.0
    y = F.one_hot(torch.arange(400) % 2, 2).float()
    of_class = y @ torch.tensor([[9.0, 0, 0, 0], [-9.0, 0, 0, 0]])
    deaf = with_data(x + of_class, of_class, y)  # decoded to one example a class, whatever z is
    assert Spread()(deaf).item() > 0.9
    assert Spread(["y"])(deaf).item() == pytest.approx(0.0, abs=1e-5)
    assert Spread(["y"])(with_data(x, x, torch.randn(400, 2))).item() == pytest.approx(1.0)


def test_a_collapse_is_told_of_a_decoder_that_was_better_and_of_one_that_stays_flat() -> None:
    spread, certainty = Spread(), Certainty(Features(4))
    for fine in ([], [0.01] * 9, [0.01] * 9 + [0.2], [0.5, 0.6, 0.4], [0.5, 0.3, 0.02], [0.5, 0.01, 0.1]):
        assert spread.wrong(fine) is None
    for flat in ([0.5, 0.03, 0.02], [0.01] * 9 + [0.02]):
        assert "differs 2.0 % as much as the data" in str(spread.wrong(flat))
    assert certainty.wrong([0.6, 0.999]) is None
    assert "right with a probability of 0.9990" in str(certainty.wrong([0.6, 0.995, 0.999]))


def test_what_is_decoded_from_the_prior_is_drawn_anew_and_shared_by_the_terms_of_a_draw() -> None:
    made = small("vae_gan", DATA, critic=[4])
    draw = drawn(made)
    assert decoded(draw, "prior") is decoded(draw, "prior")
    torch.testing.assert_close(decoded(draw, "reconstruction"), draw.heads["x"].p.mean)
    other = made.model(made.observe(DATA.train.batch(torch.arange(8))), 2)
    assert not torch.equal(decoded(draw, "prior"), decoded(other, "prior"))


def test_the_order_of_the_terms_does_not_matter() -> None:
    found = []
    for turned in (False, True):
        made = small("vae_gan", DATA, critic=[4])
        terms: Any = made.objective.terms
        order = list(terms.items())[::-1] if turned else list(terms.items())
        objective, batch = pv.Objective(dict(order)), made.observe(DATA.train.batch(torch.arange(8)))
        torch.manual_seed(0)
        objective(made.model, batch)["loss"].backward()
        critic = terms["critic"].term.critic
        found.append([each.grad for each in (*made.model.parameters(), *critic.parameters()) if each.requires_grad])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
