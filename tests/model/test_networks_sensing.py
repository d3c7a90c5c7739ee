"""Networks of sensors: shapes, gradients, what they read and what not, what they refuse, and the maps that are set."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from polyvae.model.networks.sensing import ResidualPerceptron, SensingDecoder, sensing

PIXELS = (1, 5, 9)  # of 3 x 4
SMALL = partial(sensing, channels=2, pixels=PIXELS, hidden=(7, 6), leading=5, modes=9)
FIELD, SEEN, TOLD = (2, 3, 4), (3, 3, 4), (4, 3, 4)  # TOLD: with a flag for each reading
CASES = [
    ([(4,), SEEN], FIELD),
    ([(4,)], FIELD),
    ([FIELD], (6,)),
    ([SEEN], (6,)),
    ([FIELD, SEEN, (3,)], (6,)),
    ([FIELD, TOLD, (3,)], (6,)),
    ([(4,), TOLD], FIELD),
]


def observed(x: Tensor, works: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Tensor:
    mask = torch.zeros(12).to(x)
    mask[list(PIXELS)] = torch.tensor(works).to(x)
    mask = mask.view(1, 1, 3, 4).expand(len(x), -1, -1, -1)
    return torch.cat([x * mask, mask], 1)


def values(shapes: list[tuple[int, ...]], batch: int = 3) -> list[Tensor]:
    return [torch.randn(batch, *shape) for shape in shapes]


@pytest.mark.parametrize(("inputs", "output"), CASES)
def test_shapes_and_every_parameter_gets_a_gradient(inputs, output) -> None:
    torch.manual_seed(0)
    net = SMALL(inputs, output)
    torch.nn.init.normal_(net.perceptron.last.weight)  # a decoder begins at zero
    made = net(*values(inputs))
    assert made.shape == (3, *output)
    made.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


def test_an_observation_is_read_at_its_sensors_alone_and_a_field_everywhere() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, *FIELD, requires_grad=True)
    for shape in (SEEN, TOLD):
        net, m = SMALL([FIELD, shape], (6,)), torch.randn(2, *shape, requires_grad=True)
        whole, told = torch.autograd.grad(net(x, m).sum(), (x, m))
        assert (whole != 0).all()
        there = (told != 0).flatten(2)
        assert there[:, :, PIXELS].all()
        assert there.sum() == 2 * shape[0] * len(PIXELS)


def test_a_sensor_that_fails_is_told_from_one_that_reads_its_mean() -> None:
    torch.manual_seed(0)
    net = SMALL([SEEN], (6,))
    x = torch.randn(4, *FIELD)
    net.readings.centre.copy_(x.flatten(2)[:, :, PIXELS].mean(0).flatten())
    usual = x.clone()
    usual.view(4, 2, 12)[:, :, PIXELS[1]] = net.readings.centre.view(2, 3)[:, 1]
    failed, mean = observed(x, (1.0, 0.0, 1.0)), observed(usual)
    told, values_ = net.readings(failed)
    other, others = net.readings(mean)
    assert torch.equal(values_, others)
    assert (told != other).sum() == 4
    assert not torch.allclose(net(failed), net(mean))


def test_a_decoder_is_the_map_that_is_set_and_what_the_perceptron_adds_in_its_units() -> None:
    torch.manual_seed(0)
    net = SMALL([(4,), SEEN], FIELD).double()
    assert isinstance(net, SensingDecoder)
    for name in ("base", "linear", "units"):
        held = net.get_buffer(name)
        held.copy_(torch.randn(held.shape))
    net.readings.centre.fill_(0.5)
    net.readings.scale.fill_(2.0)
    z, x = torch.randn(3, 4).double(), torch.randn(3, *FIELD).double()
    read = (x.flatten(2)[:, :, PIXELS].flatten(1) - 0.5) / 2
    started = net.base + read @ net.linear @ net.axes
    torch.testing.assert_close(net(z, observed(x)).flatten(1), started)  # the perceptron begins at zero
    torch.nn.init.normal_(net.perceptron.last.weight)
    added = net.units * net.perceptron(torch.cat([z, read, torch.zeros(3, 3).double()], 1))
    torch.testing.assert_close(net(z, observed(x)).flatten(1), started + added @ net.axes)


def test_a_residual_perceptron_without_blocks_outputs_is_linear() -> None:
    torch.manual_seed(0)
    net = ResidualPerceptron(3, 2, (5, 4), zero=False)
    for block in net.blocks:
        assert isinstance(block, torch.nn.Sequential)
        torch.nn.init.zeros_(block[-1].weight)
        torch.nn.init.zeros_(block[-1].bias)
    a = torch.randn(4, 3)
    torch.testing.assert_close(net(a), net.last(net.first(a)))


def test_what_it_cannot_read_or_say_is_refused() -> None:
    with pytest.raises(ValueError, match="reads a field of 2 channels and its observation; got a picture of 7"):
        SMALL([(7, 3, 4)], (6,))
    with pytest.raises(ValueError, match="the likelihood asks for 4: take one whose scale"):
        SMALL([(4,), SEEN], (4, 3, 4))
    with pytest.raises(ValueError, match="hidden is one width a layer"):
        SMALL([(4,)], (2,), hidden=())
