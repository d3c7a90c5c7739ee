"""What a decoder makes of an observation alone, which it makes once for all draws of z."""

from __future__ import annotations

from contextlib import contextmanager
from math import prod

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.completion.completer import Completer
from polyvae.model.networks.layers import LastConvolution, Stacked
from polyvae.model.networks.meeting import Meeting
from polyvae.model.networks.prepared import Prepared
from polyvae.model.networks.sparse import MultiscaleDecoder, multiscale
from polyvae.observe.masks import sparse

SHAPE = (1, 8, 12)


def settled(net: nn.Module) -> nn.Module:
    """A network in double precision and evaluation mode, with weights and running statistics of no special value."""
    generator = torch.Generator().manual_seed(1)
    for layer in net.double().modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                assert values is not None
                values.data = 0.5 + torch.rand(values.shape, generator=generator, dtype=torch.float64)
    return net.eval()


def observed(rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, *SHAPE, generator=generator, dtype=torch.float64)
    return sparse(x, (torch.rand(rows, 1, *SHAPE[1:], generator=generator) < 0.3).double())


@contextmanager
def rows_of(layer: nn.Module):
    """How many rows the layer read at each of its calls."""
    read: list[int] = []
    handle = layer.register_forward_hook(lambda layer, given, made: read.append(len(given[0])))
    yield read
    handle.remove()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_what_two_sets_of_maps_say_is_what_the_layers_say_of_them_joined(training, norm, last) -> None:
    torch.manual_seed(0)
    first = LastConvolution(7, 3) if last else nn.ConvTranspose2d(7, 3, 3, 2, 1, 1)
    others = [nn.BatchNorm2d(3)] if norm else []
    net = settled(Meeting(first, *others, nn.LeakyReLU(inplace=True))).train(training)
    a, b = torch.randn(6, 5, 4, 4, dtype=torch.float64), torch.randn(2, 2, 4, 4, dtype=torch.float64)
    found = net(a, b)
    maps = torch.cat([a, b.repeat(3, 1, 1, 1)], 1)
    for layer in (first, *others):
        maps = layer(maps)
    torch.testing.assert_close(found, nn.functional.leaky_relu(maps))


@pytest.mark.parametrize("z", [(3,), (60,), (2, 2, 3)])
@pytest.mark.parametrize("blocks", [0, 1])
@pytest.mark.parametrize("statistics", [True, False])
def test_an_observation_is_read_once_for_all_draws(z, blocks, statistics) -> None:
    torch.manual_seed(0)
    m_shape = (2, *SHAPE[1:])
    net = settled(multiscale([z, m_shape], SHAPE, (4, 3, 5), blocks, statistics))
    assert isinstance(net, MultiscaleDecoder)
    drawn, m = torch.randn(8, *z, dtype=torch.float64), observed(2)
    with rows_of(net.looks[0]) as rows:
        found = net(drawn, m)
    assert rows == [2]
    torch.testing.assert_close(found, net(drawn, m.repeat(4, 1, 1, 1)))
    # As few rows as latents, or fewer, go through all layers; more by way of the unit vectors.
    torch.testing.assert_close(found, torch.cat([net(each, m) for each in drawn.split(2)]))
    with pytest.raises(ValueError, match="as many for each, beside every row of m; got 7 beside 2"):
        net(drawn[:7], m)


def test_on_a_cpu_few_draws_rise_together_and_in_training_all(monkeypatch) -> None:
    monkeypatch.setattr("polyvae.model.networks.sparse.CACHED", 2 * 2 * prod(SHAPE))
    net = settled(multiscale([(3,), (2, *SHAPE[1:])], SHAPE, (4, 3)))
    drawn, m = torch.randn(10, 3, dtype=torch.float64), observed(2)
    with rows_of(net.rises[0][2]) as rows:
        found = net(drawn, m)
        assert rows == [4, 4, 2]
        net.train()(drawn, m)
        assert rows == [4, 4, 2, 10]
    monkeypatch.undo()
    torch.testing.assert_close(found, settled(net)(drawn, m))


def test_networks_in_front_of_a_decoder_know_what_it_shares() -> None:
    net = multiscale([(5,), (2, *SHAPE[1:])], SHAPE, (4, 3))
    assert net.shared == (1,)
    assert Stacked(net, 2).shared == (2,)
    assert Stacked(net, 1).shared == (1,)
    assert Stacked(net).shared == ()
    assert Prepared([nn.Identity(), nn.Identity(), nn.Identity()], Stacked(net, 2)).shared == (2,)
    assert Prepared([nn.Identity()], nn.Linear(2, 2)).shared == ()


def recipe(condition: bool) -> tuple[pv.Recipe, dict[str, Tensor]]:
    data = pv.data.load("digits")
    asked = {"condition": True} if condition else {}
    made = pv.recipes.arbitrary_conditioning(
        data.spec, latent=3, network="conv", widths=(4, 6), exponent=3, likelihood="bernoulli", seed=0, **asked
    )
    settled(made.model)
    batch = {name: value.double() if name == "x" else value for name, value in data.test.batch(torch.arange(3)).items()}
    torch.manual_seed(0)
    return made, dict(made.observe(batch))


@pytest.mark.parametrize("condition", [True, False])
def test_a_pass_and_a_completion_show_a_decoder_and_a_prior_the_rows_of_the_batch(condition) -> None:
    made, batch = recipe(condition)
    model = made.model
    look = next(layer for layer in model.modules() if isinstance(layer, MultiscaleDecoder)).looks[0]
    with torch.no_grad(), rows_of(look) as rows, rows_of(next(iter(model.prior.values())).net) as priors:
        draw = model(batch, 5)
        known = {name: value.repeat(5, *[1] * (value.ndim - 1)) for name, value in batch.items()}
        whole = model.decode({**known, "z": draw.values["z"]})["x"]
        assert rows == [3, 15]
        torch.testing.assert_close(draw.heads["x"].log_p.flatten(), whole.log_prob(known["x"]))
        rows.clear(), priors.clear()
        torch.manual_seed(4)
        (found,) = Completer(draws=7).predict(model, batch)
        assert rows == [3]
        assert priors == [3]
        torch.manual_seed(4)
        given = {name: batch[name] for name in model.conditions}
        latents = model.sample_latents(given, 7)["z"]
        again = {name: value.repeat(7, *[1] * (value.ndim - 1)) for name, value in given.items()}
        laws = model.decode({**again, "z": latents})["x"]
        torch.testing.assert_close(found.means.flatten(0, 1), laws.mean)


def test_draws_of_a_prior_that_reads_m_are_those_of_its_law_at_every_row() -> None:
    made, batch = recipe(False)
    with torch.no_grad():
        p = made.model.prior["z"](batch)
        z = made.model.sample_latents({"m": batch["m"]}, 4000)["z"].unflatten(0, (4000, 3))
    assert float(((z.mean(0) - p.mean) / p.stddev).abs().max()) < 4.5 / 4000**0.5
    torch.testing.assert_close(z.std(0), p.stddev, rtol=0.06, atol=0)
    assert not torch.equal(z[0], z[1])
