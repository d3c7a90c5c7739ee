"""The gated PixelCNN: what each position sees, that its probabilities are ones, and that sampling draws from them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from helpers.waiting import Watch
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.pixelcnn_sampling import draw, walk


def network(shape: tuple[int, int], codes: int, kernels: Any = (3, 3, 3), seed: int = 0, **options: Any) -> Any:
    """A double precision network with weights large enough that everything seen counts."""
    torch.manual_seed(seed)
    net = GatedPixelCNN(shape, codes, channels=6, kernels=kernels, **options).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return net


def every_map(shape: tuple[int, int], codes: int) -> Tensor:
    rows = list(itertools.product(range(codes), repeat=shape[0] * shape[1]))
    return torch.tensor(rows).view(-1, *shape)


def log_probability(net: Any, maps: Tensor, y: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        logits = net(maps, y).log_softmax(-1)
    return logits.gather(-1, maps[..., None]).flatten(1).sum(1)


def jacobian(net: Any, y: Tensor | None = None) -> Tensor:
    """How strongly the logits at each position [H W] follow the embedded code at each [H W]."""
    height, width = net.shape
    # Of eight maps together: in one of them all rectifiers of a position may be shut.
    embedded = torch.randn(8, height, width, net.embedding.embedding_dim).double().requires_grad_()
    logits = net.logits(embedded, y).flatten(1, 2)
    rows = []
    for place in range(height * width):
        (gradient,) = torch.autograd.grad(logits[:, place].square().sum(), embedded, retain_graph=True)
        rows.append(gradient.abs().sum((0, -1)).flatten())
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("shape", "kernels"), [((5, 6), (3, 3)), ((4, 7), (5, 3)), ((6, 5), (3, 5, 3)), ((3, 9), (7,)), ((6, 6), (3, 3, 3))]
)
def test_a_position_sees_every_earlier_one_within_reach_and_no_other(shape: Any, kernels: Any) -> None:
    seen = jacobian(network(shape, 3, kernels))
    reach = sum(kernel // 2 for kernel in kernels)
    for here, there in itertools.product(itertools.product(range(shape[0]), range(shape[1])), repeat=2):
        up, aside = here[0] - there[0], abs(here[1] - there[1])
        earlier = there < here
        value = seen[here[0] * shape[1] + here[1], there[0] * shape[1] + there[1]]
        if earlier and up <= reach and aside <= reach:
            assert value > 0, f"{here} is blind to {there}"
        else:
            assert value == 0, f"{here} sees {there}"


def test_deep_networks_see_all_that_is_earlier() -> None:
    seen = jacobian(network((5, 5), 3, (3, 3, 3, 3, 3), condition=2), torch.randn(8, 2).double())
    assert torch.equal(seen > 0, torch.ones(25, 25).tril(-1).bool())


@pytest.mark.parametrize(("shape", "codes"), [((2, 3), 3), ((3, 2), 3), ((1, 5), 4), ((5, 1), 4), ((3, 3), 2)])
def test_the_probabilities_of_all_maps_sum_to_one(shape: Any, codes: int) -> None:
    net = network(shape, codes)
    assert log_probability(net, every_map(shape, codes)).exp().sum().item() == pytest.approx(1, abs=1e-12)
    net = network(shape, codes, condition=2)
    for y in torch.eye(2).double():
        maps = every_map(shape, codes)
        found = log_probability(net, maps, y.expand(len(maps), 2)).exp()
        assert found.sum().item() == pytest.approx(1, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 5),
    width=st.integers(1, 6),
    codes=st.integers(2, 5),
    kernels=st.lists(st.sampled_from((3, 5, 7)), min_size=1, max_size=4),
    condition=st.sampled_from((None, 3)),
)
def test_the_cached_logits_are_those_of_the_whole_network(
    height: int, width: int, codes: int, kernels: list[int], condition: int | None
) -> None:
    net = network((height, width), codes, kernels, condition=condition, dropout=0.5)
    maps = torch.randint(codes, (3, height, width))
    y = None if condition is None else torch.randn(3, condition).double()
    found = torch.full((3, height, width, codes), torch.nan, dtype=torch.float64)

    def choose(logits: Tensor, row: int, column: int) -> Tensor:
        found[:, row, column] = logits
        return maps[:, row, column]

    assert torch.equal(walk(net, 3, choose, y), maps)
    torch.testing.assert_close(found, net(maps, y), rtol=1e-11, atol=1e-11)


def test_caching_does_not_mind_the_layout_of_the_weights() -> None:
    net = network((4, 5), 3)
    first = draw(net, 5, temperature=0)
    assert torch.equal(draw(net.to(memory_format=torch.channels_last), 5, temperature=0), first)


def goodness(counts: Tensor, probabilities: Tensor) -> float:
    """The p-value of counts under probabilities; cells that expect fewer than 5 are one."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    parts = [(value[~rare], value[rare].sum()[None]) for value in (counts.double(), expected)]
    observed, wanted = (torch.cat(part if rare.any() else part[:1]) for part in parts)
    return float(stats.chisquare(observed.numpy(), wanted.numpy()).pvalue)


def test_samples_come_as_often_as_the_model_says() -> None:
    net, maps = network((2, 3), 2, seed=3), every_map((2, 3), 2)
    torch.manual_seed(0)
    made = draw(net, 40_000).flatten(1) @ 2 ** torch.arange(5, -1, -1)
    exact = log_probability(net, maps).exp()
    assert exact.max() > 3 * exact.mean()
    assert goodness(made.bincount(minlength=64), exact) > 0.01


def test_samples_of_each_condition_come_as_often_as_the_model_says() -> None:
    net, maps = network((2, 2), 3, seed=1, condition=2), every_map((2, 2), 3)
    torch.manual_seed(0)
    y = torch.eye(2).double().repeat_interleave(20_000, 0)
    made = (draw(net, 40_000, y).flatten(1) @ 3 ** torch.arange(3, -1, -1)).view(2, -1)
    exact = [log_probability(net, maps, row.expand(81, 2)).exp() for row in torch.eye(2).double()]
    for codes, own, other in zip(made, exact, reversed(exact), strict=True):
        assert goodness(codes.bincount(minlength=81), own) > 0.01
        assert goodness(codes.bincount(minlength=81), other) < 1e-6


def test_temperature_and_top_k_sharpen_each_choice() -> None:
    net = network((1, 1), 5, (3,), seed=2)
    logits = net(torch.zeros(1, 1, 1, dtype=torch.int64))[0, 0, 0].detach()
    torch.manual_seed(0)
    for temperature, top_k in ((0.5, None), (2.0, None), (1.0, 3), (0.7, 2), (1.0, 9)):
        kept = logits.clone()
        if top_k is not None and top_k < 5:
            kept[logits.argsort()[:-top_k]] = -torch.inf
        exact = (kept / temperature).softmax(0)
        counts = draw(net, 20_000, temperature=temperature, top_k=top_k).flatten().bincount(minlength=5)
        assert (counts[exact == 0] == 0).all()
        assert goodness(counts[exact > 0], exact[exact > 0]) > 0.01


def test_at_temperature_zero_the_likeliest_code_is_taken() -> None:
    net = network((3, 4), 4)
    maps = draw(net, 1, temperature=0)
    assert torch.equal(net(maps).argmax(-1), maps)
    for options in ({"temperature": 1e-9}, {"top_k": 1}, {"temperature": 0, "top_k": 3}):
        assert torch.equal(draw(net, 1, **options), maps)


def test_samples_follow_from_the_seed_and_differ_from_each_other() -> None:
    net, made = network((3, 4), 4), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(draw(net, 6))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert len(made[0].unique(dim=0)) > 4


def test_sampling_waits_for_nothing_and_keeps_no_graph() -> None:
    for options in ({}, {"temperature": 0.5, "top_k": 2}):
        net, watch = network((3, 4), 4, condition=2), Watch()
        y = torch.randn(2, 2).double()
        with watch:
            made = draw(net, 2, y, **options)
        assert watch.seen == []
        assert not made.requires_grad


def test_the_network_refuses_sizes_and_conditions_that_make_no_sense() -> None:
    for options, words in (
        ({"kernels": (4, 3)}, "one odd number of at least 3 a layer"),
        ({"kernels": ()}, "one odd number of at least 3 a layer"),
        ({"shape": (0, 3)}, "at least 1"),
        ({"dropout": 1.0}, "dropout is a share"),
    ):
        with pytest.raises(ValueError, match=words):
            GatedPixelCNN(**{"shape": (2, 2), "codes": 3, **options})
    net = network((2, 2), 3)
    maps = torch.zeros(1, 2, 2, dtype=torch.int64)
    for call in (lambda: net(maps, torch.ones(1, 2).double()), lambda: draw(net, 1, torch.ones(1, 2).double())):
        with pytest.raises(ValueError, match="condition is a vector of None numbers; got 2"):
            call()
    with pytest.raises(ValueError, match="condition is a vector of 2 numbers; got None"):
        draw(network((2, 2), 3, condition=2), 1)
    for options in ({"temperature": -1.0}, {"temperature": torch.inf}, {"top_k": 0}):
        with pytest.raises(ValueError, match=r"temperature is|top_k counts"):
            draw(net, 1, **options)
