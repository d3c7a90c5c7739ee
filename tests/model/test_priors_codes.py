"""The PixelCNN as the law of a latent of codes, and the recipe whose code is the picture."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import polyvae as pv
from polyvae.data import Split, wrap
from polyvae.evaluation import both_bounds
from polyvae.model.distributions.exact import Exact
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.posteriors.exact import Greys
from polyvae.model.priors.pixelcnn import PixelCNNPrior, PixelCodes, as_maps, from_maps, map_shape


def recipe(x: tuple[int, ...], levels: int, seed: int = 1, scale: float = 0.5, **options: Any) -> Any:
    """A small pixel_cnn in double precision, its weights large enough to matter."""
    small = {"channels": 6, "layers": 3, "first_kernel_size": 5, **options}
    made = pv.recipes.pixel_cnn(pv.Spec(x, classes=2, levels=levels), seed=seed, **small)
    torch.manual_seed(seed)
    for parameter in made.model.double().parameters():
        nn.init.normal_(parameter, 0, scale)
    made.model.eval()
    return made


def every_picture(x: tuple[int, ...], levels: int) -> Tensor:
    rows = list(itertools.product(range(levels), repeat=math.prod(x)))
    return torch.tensor(rows, dtype=torch.float64).view(-1, *x) / (levels - 1)


SHAPES = [((1, 2, 3), 3), ((3, 1, 2), 2), ((2, 2, 2), 2)]


@pytest.mark.parametrize(("x", "levels"), SHAPES)
def test_the_bound_is_the_likelihood_and_all_pictures_together_have_probability_one(x: Any, levels: int) -> None:
    made, pictures = recipe(x, levels), every_picture(x, levels)
    with torch.no_grad():
        draw = made.model({"x": pictures}, 2)
    assert draw.elbo.exp().sum().item() == pytest.approx(1, abs=1e-10)
    torch.testing.assert_close(draw.importance_bound, draw.elbo)
    torch.testing.assert_close(draw.log_px, torch.zeros(2, len(pictures)).double())
    found = both_bounds(made, Split({"x": pictures}), samples=5000)
    torch.testing.assert_close(found.plain, draw.elbo)
    torch.testing.assert_close(found.importance, draw.elbo)
    assert found.analytic == {"z": True}


@pytest.mark.parametrize(("x", "levels"), SHAPES)
def test_generated_pictures_come_as_often_as_the_bound_says(x: Any, levels: int) -> None:
    made, pictures = recipe(x, levels), every_picture(x, levels)
    with torch.no_grad():
        exact = made.model({"x": pictures}).elbo.exp()
        torch.manual_seed(0)
        drawn = made.model.generate(count=30_000)["x"].sample()
    place = levels ** torch.arange(math.prod(x) - 1, -1, -1)
    counts = ((drawn * (levels - 1)).round().long().flatten(1) @ place).bincount(minlength=len(pictures))
    often = exact * 30_000 >= 5
    observed, expected = (torch.cat([v[often], v[~often].sum()[None]]) for v in (counts.double(), exact * 30_000))
    assert float(stats.chisquare(observed[expected > 0].numpy(), expected[expected > 0].numpy()).pvalue) > 0.01


def test_channels_stand_one_after_the_other_and_come_back() -> None:
    codes = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    maps = as_maps(codes)
    assert maps.shape == (2, *map_shape((3, 4, 5))) == (2, 4, 15)
    assert maps[1, 2, :6].tolist() == [int(codes[1, c, 2, w]) for w in (0, 1) for c in (0, 1, 2)]
    for positions in ((7,), (4, 5), (3, 4, 5)):
        some = torch.randint(9, (2, *positions))
        assert torch.equal(from_maps(as_maps(some), positions), some)
    with pytest.raises(ValueError, match="a row, a map or a map of channels"):
        map_shape((1, 2, 3, 4))


def test_what_lies_between_grey_levels_has_no_probability() -> None:
    made = recipe((1, 2, 2), 3)
    x = torch.tensor([0.0, 0.5, 1.0, 0.5]).double().view(1, 1, 2, 2)
    assert made.model({"x": x}).elbo.isfinite().all()
    assert made.model({"x": x + 0.1}).elbo.item() == -math.inf
    law = Exact(x, 3)
    assert law.support.is_discrete
    assert law.log_prob(torch.stack([x, x.flip(2), x + 1e-6])).tolist() == [[0], [-math.inf], [0]]
    assert torch.equal(law.sample((2,)), x.expand(2, 1, 1, 2, 2))
    assert not law.variance.any()


def test_grey_levels_are_words_of_one_number() -> None:
    greys = Greys(256)
    codes = torch.arange(256).view(1, 16, 16)
    assert torch.equal(greys.nearest(greys.embed(codes)), codes)
    assert torch.equal(greys.embed(codes).flatten(), greys.weight.flatten())
    assert greys.embed(codes).shape == (1, greys.dim, 16, 16)


def prior(positions: tuple[int, ...] = (2, 3), condition: int | None = None, **options: Any) -> PixelCNNPrior:
    torch.manual_seed(0)
    net = GatedPixelCNN(map_shape(positions), 4, 6, (3, 3), condition).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return PixelCNNPrior(net, Codebook(4, 5), positions, () if condition is None else ("y",), **options)


@pytest.mark.parametrize("positions", [(4,), (2, 3)])
def test_the_law_scores_codes_and_their_words_alike_whatever_stands_before_them(positions: Any) -> None:
    law = prior(positions)({})
    assert isinstance(law, PixelCodes)
    assert (law.batch_shape, law.event_shape) == ((), (5, *positions))
    codes = torch.randint(4, (3, 2, *positions))
    scores = law.log_prob_codes(codes)
    assert scores.shape == (3, 2)
    torch.testing.assert_close(scores[1], law.log_prob_codes(codes[1]))
    words = law.codebook.embed(codes.flatten(0, 1)).unflatten(0, (3, 2))
    torch.testing.assert_close(law.log_prob(words), scores)
    assert law.sample((6,)).shape == (6, 5, *positions)
    assert law.sample_codes((2, 3)).shape == (2, 3, *positions)


def test_labels_and_their_vectors_condition_alike_and_make_a_law_each() -> None:
    p, y = prior(condition=3), torch.tensor([2, 0])
    by_label, by_vector = p({"y": y}), p({"y": torch.eye(3)[y]})
    codes = torch.randint(4, (5, 2, 2, 3))
    scores = by_label.log_prob_codes(codes)
    assert by_label.batch_shape == (2,)
    torch.testing.assert_close(by_vector.log_prob_codes(codes), scores)
    alone = p({"y": y[1:]}).log_prob_codes(codes[:, 1:])
    torch.testing.assert_close(alone, scores[:, 1:])
    assert (by_label.log_prob_codes(codes.flip(1)) - scores.flip(1)).abs().min() > 1e-4
    assert by_label.sample_codes((4,)).shape == (4, 2, 2, 3)


def test_sharper_draws_leave_the_scores_alone_and_share_the_weights() -> None:
    plain = prior()
    sharp = plain.sharpened(temperature=0.0, top_k=2)
    codes = torch.randint(4, (6, 2, 3))
    assert sharp.net is plain.net
    assert torch.equal(sharp({}).log_prob_codes(codes), plain({}).log_prob_codes(codes))
    likeliest = sharp({}).sample_codes((5,))
    assert len(likeliest.unique(dim=0)) == 1
    assert len(plain({}).sample_codes((5,)).unique(dim=0)) > 1
    assert sharp.training == plain.training
    assert not plain.net.training
    with pytest.raises(ValueError, match="temperature is at least 0"):
        plain.sharpened(-0.1)


def test_a_prior_refuses_a_network_of_other_codes() -> None:
    net = GatedPixelCNN((2, 3), 4, 6, (3,))
    for codebook, positions in ((Codebook(5, 2), (2, 3)), (Codebook(4, 2), (3, 2))):
        with pytest.raises(ValueError, match="the network is one of 4 codes at"):
            PixelCNNPrior(net, codebook, positions)
    with pytest.raises(ValueError, match="condition is a vector of None numbers"):
        PixelCNNPrior(net, Codebook(4, 2), (2, 3), ("y",))


def fitted(x: Tensor, y: Tensor | None = None, **options: Any) -> pv.Run:
    small = {"channels": 16, "layers": 3, "first_kernel_size": 5, **options}
    data = wrap(x if y is None else (x, y), validation=len(x) // 4)
    made = pv.recipes.pixel_cnn(data.spec, seed=0, **small)
    return pv.fit(made, data, epochs=20, batch_size=16, lr=1e-2, device="cpu", progress=False)


def test_two_pictures_equally_often_cost_one_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    pair = (torch.rand(2, 1, 5, 4, generator=generator) < 0.5).float()
    run = fitted(pair[torch.randint(2, (160,), generator=generator)])
    with torch.no_grad():
        bounds = run.model({"x": pair}).elbo
    assert bounds.exp().sum().item() == pytest.approx(1, abs=0.02)
    assert bounds.exp().tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    made = run.model.generate(count=20)["x"].mean
    assert {tuple(row) for row in made.flatten(1).tolist()} == {tuple(row) for row in pair.flatten(1).tolist()}


def test_what_is_generated_differs_by_class() -> None:
    torch.manual_seed(0)
    y = torch.arange(160) % 2
    x = (torch.rand(160, 1, 4, 4) < torch.where(y == 0, 0.15, 0.85)[:, None, None, None]).float()
    run = fitted(x, y, condition=True)
    assert run.model.conditions == ("y",)
    lit = run.model.generate({"y": torch.eye(2)}, count=200)["x"].mean.unflatten(0, (200, 2)).mean((0, 2, 3, 4))
    assert lit.tolist() == pytest.approx([0.15, 0.85], abs=0.08)


def test_training_in_half_precision_sees_the_grey_levels_as_they_are() -> None:
    x = torch.arange(256).repeat(2).view(32, 1, 4, 4).to(torch.uint8)
    data = wrap(x, validation=x[:8])
    made = pv.recipes.pixel_cnn(data.spec, channels=8, layers=1, seed=0)
    run = pv.fit(made, data, epochs=1, batch_size=8, precision="bf16", device="cpu", progress=False)
    (row,) = run.history
    assert row["train_reconstruction"] == row["validation_reconstruction"] == 0
    assert row["train_kl"] == pytest.approx(16 * math.log(256), rel=0.1)
