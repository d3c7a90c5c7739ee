"""Layers of networks: sides halved and regained, rows and maps, the last convolution, an enlarged block."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from polyvae.model.networks.layers import LastConvolution, Stage, stages, to_maps, to_rows
from polyvae.model.networks.residual import Block


@pytest.mark.parametrize(
    ("side", "sides"),
    [
        (28, [28, 14, 7, 7, 7]),
        (32, [32, 16, 8, 4, 2]),
        (64, [64, 32, 16, 8, 4]),
        (8, [8, 4, 2, 1, 1]),
        (15, [15, 15, 15, 15, 15]),
        (17, [17, 9, 9, 9, 9]),
        (89, [89, 45, 23, 12, 6]),
        (1, [1, 1, 1, 1, 1]),
    ],
)
def test_sides_are_halved_while_even_or_large(side, sides):
    found = list(stages(side, 20, 4))
    assert [stage.before[0] for stage in found] + [found[-1].after[0]] == sides
    assert [stage.before[1] for stage in found] == [20, 10, 5, 5], "each axis follows its own sides"


@given(st.integers(1, 300), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_transposed_convolution_returns_to_every_side_exactly(side, count):
    for stage in stages(side, 1, count):
        layer = nn.ConvTranspose2d(1, 1, 3, stage.stride, 1, stage.output_padding)
        assert layer(torch.zeros(1, 1, *stage.after)).shape[2:] == stage.before


def test_maps_flattened_in_channels_last_layout_are_not_copied_and_come_back():
    maps = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert to_rows(maps).data_ptr() == maps.data_ptr()
    assert torch.equal(to_maps(to_rows(maps), (3, 4, 5)), maps)
    assert to_maps(torch.rand(2, 20), (1, 4, 5)).stride() == (20, 1, 5, 1), (
        "one channel: strides that say channels last"
    )


def test_the_last_convolution_is_the_plain_convolution_and_so_are_its_gradients():
    torch.manual_seed(0)
    ours, plain = LastConvolution(5, 2).double(), nn.Conv2d(5, 2, 3, padding=1).double()
    plain.load_state_dict(ours.state_dict())
    inputs = [torch.rand(3, 5, 6, 7, dtype=torch.float64).requires_grad_() for _ in range(2)]
    inputs[1].data.copy_(inputs[0])
    results = [net(value) for net, value in zip((ours, plain), inputs, strict=True)]
    torch.testing.assert_close(*results)
    for result in results:
        result.pow(3).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    torch.testing.assert_close(ours.bias.grad, plain.bias.grad)


def test_a_pixel_repeated_by_a_residual_block_is_cut_to_the_odd_side():
    (stage,) = stages(17, 18, 1)
    assert stage == Stage((17, 18), (9, 9), (2, 2))
    block = Block(2, 2, stage, up=True)
    nn.init.zeros_(block.residue[-1].weight)
    maps = torch.rand(2, 2, 9, 9)
    repeated = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :17, :18]
    assert torch.equal(block(maps), repeated)
