"""What the networks of sparse observations read: means of seen pixels at every scale, for pictures of any sides."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polyvae.model.networks.layers import Stacked, Stage, stages
from polyvae.model.networks.mlp import Perceptron
from polyvae.model.networks.sparse import MultiscaleDecoder, multiscale, pyramid
from polyvae.model.networks.vq import code_shape
from polyvae.observe.masks import sparse

pictures = st.tuples(st.integers(1, 3), st.integers(1, 33), st.integers(1, 33))
vectors = st.tuples(st.integers(1, 5))


def observation(shape: tuple[int, ...], share: float, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x, mask and m of random pictures in double precision."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
    mask = (torch.rand(batch, 1, *shape[1:], generator=generator) < share).double()
    return x, mask, sparse(x, mask)


def cells(steps: list[Stage], height: int, width: int) -> list[tuple[list[range], list[range]]]:
    """The rows and the columns of the picture that each cell of each level covers."""
    rows, columns = [range(i, i + 1) for i in range(height)], [range(i, i + 1) for i in range(width)]
    levels = [(rows, columns)]
    for stage in steps:
        rows, columns = (
            [range(axis[i].start, axis[min(i + stride, len(axis)) - 1].stop) for i in range(0, len(axis), stride)]
            for axis, stride in zip(levels[-1], stage.stride, strict=True)
        )
        levels.append((rows, columns))
    return levels


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (2, 17, 20), (1, 1, 9), (2, 21, 33)])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_every_cell_holds_the_mean_of_its_seen_pixels_and_their_share(shape, share) -> None:
    x, mask, m = observation(shape, share)
    steps = list(stages(*shape[1:], 4))
    levels = pyramid(m, steps)
    assert len(levels) == 5
    for level, (rows, columns) in zip(levels, cells(steps, *shape[1:]), strict=True):
        assert level.shape == (2, shape[0] + 1, len(rows), len(columns))
        for i, down in enumerate(rows):
            for j, across in enumerate(columns):
                seen = mask[:, 0, down][:, :, across].flatten(1)
                values = x[:, :, down][..., across].flatten(2)
                torch.testing.assert_close(level[:, -1, i, j], seen.mean(1))
                for row in range(2):
                    if seen[row].any():
                        mean = values[row][:, seen[row] > 0].mean(1)
                        torch.testing.assert_close(level[row, :-1, i, j], mean)


@given(pictures, st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_one_seen_pixel_fills_every_scale_and_none_leaves_zeros(shape, place, count) -> None:
    x, mask, _ = observation(shape, 0.0, batch=1)
    steps = list(stages(*shape[1:], count))
    assert not any(level.any() for level in pyramid(sparse(x, mask), steps))
    row, column = divmod(place % prod(shape[1:]), shape[2])
    mask[0, 0, row, column] = 1
    for level in pyramid(sparse(x, mask), steps):
        torch.testing.assert_close(level[0, :-1], x[0, :, row, column, None, None].expand_as(level[0, :-1]))


@given(pictures, st.floats(0.02, 1), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_seen_pixels_stay_and_what_is_filled_lies_between_them(shape, share, count) -> None:
    x, mask, m = observation(shape, share)
    levels = pyramid(m, list(stages(*shape[1:], count)))
    assert torch.equal(levels[0][:, :-1] * mask, x * mask)
    assert torch.equal(levels[0][:, -1:], mask)
    for row in range(2):
        if mask[row].any():
            seen = x[row][:, mask[row, 0] > 0]
            for level in levels:
                filled = level[row, :-1].flatten(1)
                assert (filled >= seen.amin(1, keepdim=True) - 1e-9).all()
                assert (filled <= seen.amax(1, keepdim=True) + 1e-9).all()


def check(net: nn.Module, z: tuple[int, ...], output: tuple[int, ...], batch: int = 3) -> None:
    """Shape, memory layout, and a gradient for every weight."""
    channels = output[0] + 1
    m = sparse(torch.rand(batch, *output), torch.rand(batch, 1, *output[1:]) < 0.4)
    assert m.shape[1] == channels
    found = net(torch.randn(batch, *z), m)
    assert found.shape == (batch, *output)
    assert found.is_contiguous()
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@given(pictures, vectors, st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
@settings(max_examples=30, deadline=None)
def test_vectors_become_pictures_of_any_sides(output, z, channels, statistics) -> None:
    net = multiscale([z, (output[0] + 1, *output[1:])], output, channels, statistics=statistics)
    assert isinstance(net, MultiscaleDecoder)
    check(net, z, output)


@given(pictures, st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_maps_of_codes_are_met_at_their_own_sides(output, dim, channels, blocks) -> None:
    z = code_shape(output, dim, channels)
    net = multiscale([z, (output[0] + 1, *output[1:])], output, channels, blocks, statistics=False)
    assert net.steps[-1].after == z[1:]
    check(net, z, output)


@given(pictures, pictures)
@settings(max_examples=20, deadline=None)
def test_maps_of_any_other_sides_are_stretched(output, z) -> None:
    check(multiscale([z, (output[0] + 1, *output[1:])], output, (3, 2)), z, output)


def test_one_corner_of_the_observation_reaches_the_other() -> None:
    torch.manual_seed(0)
    net = multiscale([(3,), (2, 28, 28)], (1, 28, 28), (4, 4)).eval()
    x, mask = torch.rand(2, 1, 28, 28), torch.zeros(2, 1, 28, 28)
    mask[1, 0, 0, 0] = 1
    m, z = sparse(x, mask).requires_grad_(), torch.randn(1, 3).expand(2, 3)
    corner = net(z, m)[:, 0, 27, 27]
    assert corner[0] != corner[1]
    (slope,) = torch.autograd.grad(corner[1], m)
    assert slope[1, 0, 0, 0] != 0


def test_without_statistics_a_batch_is_its_examples() -> None:
    torch.manual_seed(0)
    net = multiscale([(2, 7, 7), (2, 28, 28)], (1, 28, 28), (4, 5), 1, statistics=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    z, m = torch.randn(6, 2, 7, 7), sparse(torch.rand(6, 1, 28, 28), torch.rand(6, 1, 28, 28) < 0.1)
    whole = net(z, m)
    parts = torch.cat([net(z[:2], m[:2]), net(z[2:], m[2:])])
    torch.testing.assert_close(whole, parts)
    assert torch.equal(net.eval()(z, m), whole)


def test_the_layout_of_the_weights_changes_no_bit() -> None:
    torch.manual_seed(0)
    net = multiscale([(3,), (4, 12, 10)], (3, 12, 10), (4, 5)).eval()
    z, m = torch.randn(4, 3), sparse(torch.rand(4, 3, 12, 10), torch.rand(4, 1, 12, 10) < 0.2)
    plain = net(z, m)
    assert torch.equal(net.to(memory_format=torch.channels_last)(z, m), plain)


def test_tables_take_a_perceptron_and_wrong_observations_are_refused() -> None:
    assert isinstance(multiscale([(2,), (10,)], (5,)), Perceptron)
    for inputs in ([(3,)], [(3,), (8,)], [(3,), (2, 8, 7)], [(3,), (1, 8, 8)], [(3,), (2, 8, 8), (4,)]):
        with pytest.raises(ValueError, match=r"reads z, then an observation \(C \+ 1, 8, 8\); got"):
            multiscale(inputs, (1, 8, 8))
    with pytest.raises(ValueError, match="channels is one width a layer"):
        multiscale([(3,), (2, 8, 8)], (1, 8, 8), ())
    with pytest.raises(ValueError, match="the network reads values of shapes"):
        multiscale([(3,), (2, 8, 8)], (1, 8, 8), (2,))(torch.rand(2, 3), torch.rand(2, 2, 8, 7))


def test_stacked_inputs_are_read_as_one() -> None:
    net = Stacked(nn.Conv2d(5, 2, 3))
    x, m = torch.rand(2, 2, 6, 5), torch.rand(2, 3, 6, 5)
    assert torch.equal(net(x, m), net.net(torch.cat([x, m], 1)))
