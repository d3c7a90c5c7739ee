"""A PixelCNN that knows the maps above its own: what a position sees of them, and that its probabilities are ones."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import polyvae as pv
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.pixelcnn_above import BLOCKS, FromAbove
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.priors import PixelCNNPrior


def prior(above: Any, positions: tuple[int, int] = (2, 3), codes: int = 3, condition: int | None = None) -> Any:
    """A PixelCNN in double precision given maps "a", "b" ..., its weights large enough that everything seen counts."""
    torch.manual_seed(0)
    reader = FromAbove(above, positions, 5, condition)
    net = GatedPixelCNN(positions, codes, 6, (3, 3), 5)
    given = (*"abc"[: len(above)], *(["y"] if condition else []))
    made = PixelCNNPrior(net, Codebook(codes, 2), positions, given, reader=reader).double().eval()
    for parameter in (*net.parameters(), *reader.parameters()):
        nn.init.normal_(parameter, 0, 0.5)
    return made


def every_map(shape: tuple[int, int], codes: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(codes), repeat=shape[0] * shape[1]))).view(-1, *shape)


@pytest.mark.parametrize("above", [[(2, 1, 2)], [(2, 1, 1), (3, 2, 2)]])
@pytest.mark.parametrize("condition", [None, 3])
def test_given_maps_above_and_a_label_all_maps_together_have_probability_one(above: Any, condition: Any) -> None:
    p, maps = prior(above, condition=condition), every_map((2, 3), 3)
    for seed in range(2):
        torch.manual_seed(seed)
        values = {name: torch.randn(1, *shape).double() for name, shape in zip("ab", above, strict=False)}
        values |= {"y": torch.tensor([seed])} if condition else {}
        law = p(values)
        assert law.batch_shape == (1,)
        with torch.no_grad():
            found = law.log_prob_codes(maps[:, None]).exp()
        assert found.sum().item() == pytest.approx(1, abs=1e-12)
        assert found.std() > 1e-5


def test_draws_given_a_map_above_come_as_often_as_their_probability() -> None:
    p, maps = prior([(2, 1, 2)], (2, 2)), every_map((2, 2), 3)
    values = {"a": torch.tensor([1.0, -2.0, 0.5, 1.0]).double().view(1, 2, 1, 2)}
    with torch.no_grad():
        expected = p(values).log_prob_codes(maps[:, None]).exp().flatten() * 20_000
        torch.manual_seed(0)
        drawn = p(values).sample_codes((20_000,)).flatten(1)
    counts = (drawn @ 3 ** torch.arange(3, -1, -1)).bincount(minlength=81).double()
    often = expected >= 5
    observed, wanted = (torch.cat([v[often], v[~often].sum()[None]]) for v in (counts, expected))
    assert float(stats.chisquare(observed[wanted > 0].numpy(), wanted[wanted > 0].numpy()).pvalue) > 0.01


def test_a_position_sees_its_own_map_strictly_before_it_and_all_of_the_maps_above() -> None:
    p = prior([(2, 2, 3), (2, 1, 1)], (3, 5))
    embedded = torch.randn(8, 3, 5, p.net.embedding.embedding_dim).double().requires_grad_()
    above = [torch.randn(8, *shape).double().requires_grad_() for shape in p.reader.above]
    logits = p.net.logits(embedded, p.reader(*above)).flatten(1, 2)
    for place in range(15):
        found = torch.autograd.grad(logits[:, place].square().sum(), [embedded, *above], retain_graph=True)
        own, *others = (each.abs().sum(0) for each in found)
        seen = own.sum(-1).flatten() > 0
        assert not seen[place:].any()
        for each in others:
            assert (each.sum(0) > 0).all()


def test_a_large_map_above_is_seen_three_places_to_every_side() -> None:
    reader = FromAbove([(1, 9, 9)], (9, 9), 4).double()
    x = torch.randn(4, 1, 9, 9).double().requires_grad_()
    (gradient,) = torch.autograd.grad(reader(x)[:, :, 4, 4].square().sum(), x)
    reach = 1 + BLOCKS
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
    assert torch.equal(gradient.abs().sum((0, 1)) > 0, expected)


def test_every_position_takes_the_place_of_the_map_above_that_it_lies_in() -> None:
    reader = FromAbove([(1, 4, 2)], (7, 3), 1)
    reader.nets = nn.ModuleList([nn.Identity()])
    x = torch.arange(8.0).view(1, 1, 4, 2)
    assert reader(x)[0, 0, :, 0].tolist() == [0, 0, 2, 2, 4, 4, 6]
    assert reader(x)[0, 0, 0].tolist() == [0, 0, 1]
    row = FromAbove([(1, 1, 2)], (1, 3), 1)
    row.nets = nn.ModuleList([nn.Identity()])
    assert torch.equal(row(torch.tensor([[[5.0, 6.0]]])), torch.tensor([[[[5.0, 5.0, 6.0]]]]))


def test_trap19_no_statistics_of_a_batch_stand_between_the_maps() -> None:
    p, words = prior([(2, 2, 2)], (3, 3)), torch.randn(5, 2, 2, 2).double()
    codes = torch.randint(3, (5, 3, 3))
    together = p({"a": words}).log_prob_codes(codes)
    alone = torch.cat([p({"a": words[n : n + 1]}).log_prob_codes(codes[n : n + 1]) for n in range(5)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(p.train()({"a": words}).log_prob_codes(codes), together)


def test_the_recipe_says_what_maps_it_reads_and_refuses_others() -> None:
    spec = pv.Spec((1, 4, 4), classes=3, levels=5)
    made = pv.recipes.pixel_cnn(spec, channels=4, layers=2, condition=True, above=(2, 2, 2, 3, 1, 1), seed=0)
    assert made.model.inputs == ("above1", "above2", "x", "y")
    assert made.model.bounded_given == ("above1", "above2", "y")
    assert pv.recipes.rebuild(made.call).model.inputs == made.model.inputs  # pyright: ignore
    with pytest.raises(ValueError, match="above holds three numbers a map"):
        pv.recipes.pixel_cnn(spec, above=(2, 2))
    x = torch.rand(2, 1, 4, 4).mul(4).round().div(4)
    with pytest.raises(ValueError, match="reads values of shapes"):
        made.model({"x": x, "y": torch.eye(3)[:2], "above1": torch.rand(2, 2, 3, 2), "above2": torch.rand(2, 3, 1, 1)})
