"""Mistakes found in published PixelCNNs over codes, each a test that fails on it; the number is the trap's."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import polyvae as pv
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.priors.pixelcnn import PixelCNNPrior, as_maps


def network(shape: tuple[int, int], codes: int) -> GatedPixelCNN:
    torch.manual_seed(0)
    net = GatedPixelCNN(shape, codes, 8, (3, 3)).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return net


def recipes() -> dict[str, Any]:
    """Both places where a PixelCNN stands: over pixels, and over the codes of a quantised run."""
    small = {"channels": 6, "layers": 2, "first_kernel_size": 3, "seed": 0}
    return {
        "pixels": pv.recipes.pixel_cnn(pv.Spec((3, 2, 3), levels=4), **small),
        "codes": pv.recipes.pixel_cnn(pv.Spec((1, 4, 4), levels=16, classes=2), condition=True, **small),
    }


@pytest.mark.parametrize("name", recipes())
def test_trap19_no_statistics_of_a_batch_enter(name: str) -> None:
    made = recipes()[name]
    assert not any(isinstance(module, _BatchNorm) for module in made.model.modules())
    levels = made.model.prior["z"].net.codes
    x = torch.randint(levels, (8, *made.call["spec"]["x"])) / (levels - 1)
    batch = made.observe({"x": x, "y": torch.arange(8) % 2})
    with torch.no_grad():
        together = made.model(batch).elbo
        alone = torch.cat(
            [made.model({key: value[row : row + 1] for key, value in batch.items()}).elbo for row in range(8)]
        )
        torch.testing.assert_close(together, alone)
        torch.testing.assert_close(made.model.eval()(batch).elbo, together)


def test_trap19_codes_are_names_and_not_numbers() -> None:
    net, codes = network((3, 4), 5), torch.randint(5, (6, 3, 4))
    renamed, other = copy.deepcopy(net), torch.tensor([3, 0, 4, 1, 2])  # code k is now called other[k]
    last = renamed.head[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        for weight in (renamed.embedding.weight, last.weight, last.bias):
            weight[other] = weight.clone()
    torch.testing.assert_close(renamed(other[codes])[..., other], net(codes))
    # what a code does to the others is not a function of its size: the middle one is not between its neighbours
    maps = torch.tensor([1, 2, 3]).view(3, 1, 1).expand(3, 3, 4)
    low, middle, high = net(maps)
    assert (middle - (low + high) / 2).abs().max() > 0.1


def test_trap19_the_jacobian_is_strictly_causal_and_has_no_blind_spot() -> None:
    net = network((4, 4), 3)
    embedded = torch.randn(8, 4, 4, 3).double().requires_grad_()
    logits = net.logits(embedded).flatten(1, 2)
    rows = []
    for place in range(16):
        (gradient,) = torch.autograd.grad(logits[:, place].square().sum(), embedded, retain_graph=True)
        rows.append(gradient.abs().sum((0, -1)).flatten())
    seen = torch.stack(rows)
    assert not seen.triu().any()
    near = torch.tensor([[abs(a // 4 - b // 4) <= 2 and abs(a % 4 - b % 4) <= 2 for b in range(16)] for a in range(16)])
    assert torch.equal(seen > 0, near & torch.ones(16, 16).tril(-1).bool())


def test_trap19_a_channel_depends_on_those_before_it_in_its_pixel_and_on_no_later_one() -> None:
    net = recipes()["pixels"].model.prior["z"].net.double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)

    def changed(channel: int) -> Tensor:
        """Which of the logits of a picture's values [3, 2, 3] change with one channel of its pixel (0, 1)."""
        codes = torch.randint(4, (20, 3, 2, 3))
        others = codes.clone()
        others[:, channel, 0, 1] = (others[:, channel, 0, 1] + 1) % 4
        moved = (net(as_maps(codes)) - net(as_maps(others))).abs().amax((0, -1))
        return moved.unflatten(1, (3, 3)).permute(2, 0, 1) > 0

    for channel, later in itertools.product(range(3), repeat=2):
        assert bool(changed(channel)[later, 0, 1]) == (later > channel)
        assert not changed(channel)[later, 0, 0]


def test_trap19_the_probabilities_of_all_maps_of_a_tiny_grid_sum_to_one() -> None:
    net, words = network((2, 3), 3), pv.recipes.pixel_cnn(pv.Spec((1, 2, 3), levels=3), seed=0).model.posterior["z"]
    law = PixelCNNPrior(net, words.codebook, (2, 3))({})
    maps = torch.tensor(list(itertools.product(range(3), repeat=6))).view(-1, 2, 3)
    with torch.no_grad():
        assert law.log_prob_codes(maps).exp().sum().item() == pytest.approx(1, abs=1e-12)  # pyright: ignore
