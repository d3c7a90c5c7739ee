"""Networks: both memory layouts are one network, no layer converts between them, gradients reach every parameter."""

from functools import partial

import pytest
import torch
from torch import nn

from polyvae.model.networks import NETWORKS, conv, network, residual
from polyvae.model.networks.layers import LastConvolution, Stage, stages, to_maps, to_rows
from polyvae.model.networks.residual import Block


def values(shapes, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, *shape, generator=generator) for shape in shapes]


def convolutions(net, kind=(nn.Conv2d, nn.ConvTranspose2d)):
    return [module for module in net.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("inputs", "output"), [([(2, 12, 9), (4,)], (5,)), ([(5,), (3, 12, 9)], (2, 12, 9)), ([(6,)], (5,))]
)
def test_every_parameter_gets_a_gradient(name, inputs, output):
    net = network(name)(inputs, output)
    net(*values(inputs)).square().sum().backward()
    silent = [key for key, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not silent


GROUPED = [partial(conv, norm="group"), partial(residual, norm="group")]


@pytest.mark.parametrize("build", [conv, residual, *GROUPED])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 12), (1, 23, 9)])
def test_channels_last_is_the_same_network_with_the_same_state(build, shape):
    for inputs, output in (([shape, (4,)], (5,)), ([(5,), shape], shape)):
        torch.manual_seed(0)
        plain = build(inputs, output).double()
        turned = build(inputs, output).double().to(memory_format=torch.channels_last)
        turned.load_state_dict(plain.state_dict())
        assert turned.stack.channels_last
        assert not plain.stack.channels_last
        given = [value.double() for value in values(inputs)]
        results = [net(*given) for net in (plain, turned)]
        torch.testing.assert_close(results[0], results[1])
        for result in results:
            result.square().sum().backward()
        for one, other in zip(plain.parameters(), turned.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)
        assert plain.state_dict().keys() == turned.state_dict().keys()


@pytest.mark.parametrize("build", GROUPED)
def test_a_network_with_group_norm_holds_no_statistics_of_a_batch(build):
    for inputs, output in (([(1, 8, 8)], (5,)), ([(5,)], (1, 8, 8))):
        net = build(inputs, output, channels=(8, 12, 16))
        assert not list(net.buffers())
        given = values(inputs)
        whole = net(*given)
        torch.testing.assert_close(net.eval()(*given), whole)
        rows = [net(*[value[row : row + 1] for value in given]) for row in range(3)]
        torch.testing.assert_close(torch.cat(rows), whole)
        assert (whole[0] - whole[1]).abs().max() > 1e-4, "what is one pixel large is not normalised to nothing"


def test_an_unknown_normalisation_is_refused():
    for build in (conv, residual):
        with pytest.raises(ValueError, match="norm is one of batch, group; got 'layer'"):
            build([(1, 8, 8)], (5,), norm="layer")


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_layer_of_a_stack_sees_one_memory_layout(depth, channels_last):
    shape = (depth, 16, 16)
    nets = [conv([shape], (5,), channels=(4, 6)), conv([(5,)], shape, channels=(4, 6))]
    layouts = []

    def note(module, inputs, output):
        strides = output.stride()
        layouts.append(strides[1] == 1 and strides[3] == output.shape[1])

    for net in nets:
        for layer in convolutions(net)[:2]:  # not the decoder's last: its one channel is of either layout
            layer.register_forward_hook(note)
        if channels_last:
            net.to(memory_format=torch.channels_last)
    nets[0](*values([shape]))
    nets[1](*values([(5,)]))
    assert layouts == [channels_last] * 4


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
