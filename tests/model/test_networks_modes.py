"""Networks of modes: shapes, gradients, what they read, what they refuse, and the maps that are set."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyvae.model.networks import modes
from polyvae.model.networks.layers import set_buffers

SMALL = partial(modes, hidden=(7,), leading=5)
pictures = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
vectors = st.tuples(st.integers(1, 9))
shapes = st.one_of(pictures, vectors)


def values(of: list[tuple[int, ...]], batch: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(batch, *shape, generator=generator) for shape in of]


@given(inputs=st.lists(shapes, min_size=1, max_size=3), output=shapes, batch=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_any_shapes_in_give_exactly_the_shape_asked_for(inputs, output, batch) -> None:
    result = SMALL(inputs, output)(*values(inputs, batch))
    assert result.shape == (batch, *output)
    assert result.is_contiguous()


@pytest.mark.parametrize("inputs", [[(2, 8, 6), (4,)], [(4,), (2, 8, 6)], [(2, 8, 6), (1, 8, 6)], [(4,), (3,)]])
@pytest.mark.parametrize("output", [(5,), (1, 8, 6)])
def test_the_output_depends_on_every_input_and_every_parameter_gets_a_gradient(inputs, output) -> None:
    torch.manual_seed(0)
    net = SMALL(inputs, output)
    given_ = values(inputs)
    plain = net(*given_)
    for position in range(len(given_)):
        changed = list(given_)
        changed[position] = given_[position] + 1
        assert not torch.equal(plain, net(*changed))
    plain.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


@pytest.mark.parametrize(("inputs", "output"), [([(2, 4, 3)], (6,)), ([(6,)], (2, 4, 3))])
def test_it_is_the_map_that_is_set_and_what_the_perceptron_adds(inputs, output) -> None:
    torch.manual_seed(0)
    net = SMALL(inputs, output).double()
    x = torch.randn(4, *inputs[0], dtype=torch.float64)
    mean, linear = torch.randn(24, dtype=torch.float64), torch.randn(*net.linear.shape, dtype=torch.float64)
    set_buffers(net, mean=mean, linear=linear)
    if output == (6,):
        set_buffers(net, units=torch.zeros(6), bias=torch.arange(6.0))
        expected = (x.flatten(1) - mean) @ linear + torch.arange(6.0)
    else:
        set_buffers(net, rest=torch.zeros_like(net.rest))
        expected = mean + x @ linear
    torch.testing.assert_close(net(x).flatten(1), expected)
    set_buffers(net, units=torch.ones(6)) if output == (6,) else set_buffers(net, rest=torch.ones_like(net.rest))
    assert not torch.allclose(net(x).flatten(1), expected, rtol=1e-6)


def test_a_smaller_value_is_set_as_far_as_it_reaches_and_the_rest_is_zero() -> None:
    net = SMALL([(6,)], (1, 4, 3))
    set_buffers(net, linear=torch.ones(2, 12), rest=torch.ones(1, 12))
    assert net.linear[:2].eq(1).all()
    assert not net.linear[2:].any()
    assert not net.rest[1:].any()


def test_half_precision_ends_in_front_of_it() -> None:
    net, x = SMALL([(1, 4, 3)], (6,)), values([(1, 4, 3)])[0]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(x), net(x.float()), rtol=0, atol=0)
        made = net(x)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, net(x), rtol=0, atol=0)


def test_shapes_and_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one input"):
        modes([], (3,))
    with pytest.raises(ValueError, match="at least 1"):
        modes([(1, 0, 8)], (3,))
    with pytest.raises(ValueError, match="hidden is one width a layer"):
        modes([(1, 4, 3)], (3,), hidden=())
    with pytest.raises(ValueError, match=r"reads values of shapes \[\(1, 4, 3\)\]"):
        modes([(1, 4, 3)], (3,))(torch.zeros(2, 1, 3, 4))
