"""Networks: shapes for any size, gradients, memory layouts, mirrored stacks, and what a wrong call says."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from polyvae.model.networks import NETWORKS, conv, mirrored, mlp, network, residual, strided
from polyvae.model.networks.residual import Block

SMALL = {
    "mlp": partial(mlp, hidden=(7, 5), activation=nn.Tanh),  # five ReLUs may all be off at once
    "mlp-tanh": partial(network("mlp-tanh"), hidden=(5, 7)),
    "conv": partial(conv, channels=(3, 4, 5)),
    "residual": partial(residual, channels=(3, 4, 5)),
    "strided": partial(strided, channels=(8, 12, 16)),  # without normalisation the ReLUs of few maps may all be off
}
pictures = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))
vectors = st.tuples(st.integers(1, 9))
shapes = st.one_of(pictures, vectors)
GROUPED = [partial(conv, norm="group"), partial(residual, norm="group")]


def values(shapes, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, *shape, generator=generator) for shape in shapes]


def convolutions(net, kind=(nn.Conv2d, nn.ConvTranspose2d)):
    return [module for module in net.modules() if isinstance(module, kind)]


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@given(inputs=st.lists(shapes, min_size=1, max_size=3), output=shapes, batch=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_any_shapes_in_give_exactly_the_shape_asked_for(name, inputs, output, batch):
    result = SMALL[name](inputs, output)(*values(inputs, batch))
    assert result.shape == (batch, *output)
    assert result.is_contiguous()


@pytest.mark.parametrize("build", [conv, residual])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (4, 28, 20), (3, 89, 109), (1, 1, 1)])
def test_the_default_stacks_encode_and_decode_usual_picture_sizes(build, shape):
    assert build([shape], (6,))(*values([shape], 2)).shape == (2, 6)
    assert build([(6,)], shape)(*values([(6,)], 2)).shape == (2, *shape)


@pytest.mark.parametrize(("side", "code"), [(28, 7), (32, 2)])
def test_the_study_network_ends_in_256_maps_of_side_7_at_28_and_2_at_32(side, code):
    encoder, decoder = conv([(1, side, side)], (32,)), conv([(16,)], (1, side, side))
    maps = encoder.stack(torch.zeros(2, 1, side, side))
    assert maps.shape == (2, 256, code, code)
    assert decoder.code == maps.shape[1:]
    assert encoder.linear.in_features == decoder.linear.out_features == 256 * code * code


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 89, 109), (2, 28, 20)])
def test_trap_30_the_decoder_reverses_the_encoders_widths_strides_and_sides(shape):
    encoder, decoder = conv([shape], (32,)), conv([(16,)], shape)
    down, up = convolutions(encoder, nn.Conv2d), convolutions(decoder, nn.ConvTranspose2d)
    assert len(down) == len(up) == 4
    assert [layer.stride for layer in up] == [layer.stride for layer in reversed(down)]
    assert {layer.kernel_size for layer in (*down, *up)} == {(3, 3)}
    pairs = [(layer.out_channels, layer.in_channels) for layer in reversed(down)]
    # the pair of the picture's own channels is kept wide, and the last convolution narrows it
    assert [(layer.in_channels, layer.out_channels) for layer in up] == [*pairs[:-1], (32, 32)]
    last = decoder.stack[-1]
    assert (last.in_channels, last.out_channels) == (32, shape[0])
    sides, maps = [], torch.zeros(2, *shape)
    for layer in encoder.stack:
        sides += [maps.shape[2:]] if isinstance(layer, nn.Conv2d) else []
        maps = layer(maps)
    back, maps = [], torch.zeros(2, *decoder.code)
    for layer in decoder.stack:
        maps = layer(maps)
        back += [maps.shape[2:]] if isinstance(layer, nn.ConvTranspose2d) else []
    assert back == sides[::-1]


def test_trap_30_parameter_counts_of_the_study_networks_are_known():
    shape, widths, cells = (1, 28, 28), (1, 32, 64, 128, 256), 256 * 7 * 7
    kernels = sum(9 * before * after for before, after in pairwise(widths))
    norms = 2 * sum(widths[1:])
    assert parameters(conv([shape], (32,))) == kernels + norms + cells * 32 + 32
    up = kernels - 9 * 32 + 9 * 32 * 32 + 2 * (128 + 64 + 32 + 32)
    assert parameters(conv([(16,)], shape)) == 17 * cells + up + 9 * 32 + 1


@pytest.mark.parametrize("blocks", [1, 2])
def test_trap_30_residual_blocks_of_the_decoder_are_the_encoders_backwards(blocks):
    shape = (3, 28, 20)
    encoder, decoder = residual([shape], (32,), blocks=blocks), residual([(16,)], shape, blocks=blocks)

    def sizes(net):
        return [sorted(p.numel() for p in b.parameters() if p.ndim == 4) for b in net.modules() if isinstance(b, Block)]

    assert len(sizes(encoder)) == 4 * blocks
    assert sizes(decoder) == sizes(encoder)[::-1]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("inputs", [[(2, 8, 6), (4,)], [(4,), (2, 8, 6)], [(2, 8, 6), (1, 8, 6)], [(4,), (3,)]])
@pytest.mark.parametrize("output", [(5,), (1, 8, 6)])
def test_the_output_depends_on_every_input(name, inputs, output):
    net = SMALL[name](inputs, output).eval()
    given = values(inputs)
    for position in range(len(given)):
        changed = list(given)
        changed[position] = given[position] + 1
        assert not torch.allclose(net(*given), net(*changed))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("inputs", "output"), [([(2, 12, 9), (4,)], (5,)), ([(5,), (3, 12, 9)], (2, 12, 9)), ([(6,)], (5,))]
)
def test_every_parameter_gets_a_gradient(name, inputs, output):
    net = network(name)(inputs, output)
    net(*values(inputs)).square().sum().backward()
    silent = [key for key, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not silent


def test_conv_convolves_the_first_picture_wherever_it_stands_among_the_inputs():
    net = conv([(4,), (2, 8, 6), (1, 8, 6)], (5,), channels=(3, 4))
    assert convolutions(net)[0].in_channels == 2
    assert net.linear.in_features == 4 * 2 * 3 + 4 + 48


@pytest.mark.parametrize("name", ["conv", "residual"])
def test_without_pictures_a_picture_network_is_a_perceptron(name):
    assert not convolutions(network(name)([(4,), (3,)], (5,)))


@pytest.mark.parametrize("name", NETWORKS)
def test_examples_of_a_batch_are_independent_in_evaluation(name):
    net = SMALL[name]([(2, 8, 6)], (5,)).eval()
    (batch,) = values([(2, 8, 6)], 5)
    torch.testing.assert_close(net(batch)[1:2], net(batch[1:2]))


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


def test_mlp_has_one_hidden_layer_per_width_and_the_activation_asked_for():
    net = mlp([(2, 3), (4,)], (5,), hidden=(8, 6), activation=nn.Tanh)
    assert [type(layer) for layer in net.layers] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [layer.in_features for layer in net.layers if isinstance(layer, nn.Linear)] == [10, 8, 6]
    assert parameters(mlp([(784,)], (32,))) == 785 * 512 + 513 * 32
    assert parameters(mlp([(4,)], (5,), hidden=())) == 25


def test_a_label_without_sides_is_one_number():
    assert mlp([(), (2,)], (3,))(torch.rand(4), torch.rand(4, 2)).shape == (4, 3)


def test_mirrored_reverses_the_hidden_layers_and_nothing_else():
    encoder = partial(mlp, hidden=(500, 200), activation=nn.Tanh)
    widths = [layer.out_features for layer in mirrored(encoder)([(50,)], (784,)).layers if isinstance(layer, nn.Linear)]
    assert widths == [200, 500, 784]
    assert encoder.keywords["hidden"] == (500, 200)
    for build in (mlp, conv, partial(conv, channels=(4, 8)), lambda inputs, output: nn.Identity()):
        assert mirrored(build) is build


def test_a_network_is_named_or_given():
    assert network("conv") is conv
    assert network(residual) is residual
    build = partial(mlp, hidden=(3,))
    assert network(build) is build
    with pytest.raises(ValueError, match=r"no network is called 'cnov'; known: mlp, mlp-tanh, conv, residual"):
        network("cnov")


@pytest.mark.parametrize("build", NETWORKS.values())
def test_shapes_that_cannot_be_are_refused(build):
    with pytest.raises(ValueError, match="at least one input"):
        build([], (3,))
    with pytest.raises(ValueError, match="at least 1"):
        build([(1, 0, 8)], (3,))
    with pytest.raises(ValueError, match="at least 1"):
        build([(3,)], (0,))


def test_widths_and_normalisations_that_cannot_be_are_refused():
    for build in (conv, residual):
        with pytest.raises(ValueError, match="channels is one width a layer"):
            build([(1, 8, 8)], (3,), channels=())
        with pytest.raises(ValueError, match="norm is one of batch, group; got 'layer'"):
            build([(1, 8, 8)], (5,), norm="layer")
    with pytest.raises(ValueError, match="hidden is one width a layer"):
        mlp([(3,)], (3,), hidden=(4, 0))
    with pytest.raises(ValueError, match="blocks counts"):
        residual([(1, 8, 8)], (3,), blocks=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("output", [(3,), (1, 8, 6)])
def test_values_of_other_shapes_than_built_for_are_named(name, output):
    net = SMALL[name]([(1, 8, 6), (4,)], output)
    for wrong in ([(1, 6, 8), (4,)], [(1, 8, 6)], [(1, 8, 6), (4,), (4,)]):
        with pytest.raises(ValueError, match=r"reads values of shapes \[\(1, 8, 6\), \(4,\)\]"):
            net(*values(wrong))


def test_a_perceptron_with_tanh_is_a_network_by_name_and_mirrors_itself() -> None:
    build = partial(network("mlp-tanh"), hidden=(7, 5))
    there, back = build([(3,)], (2,)), mirrored(build)([(2,)], (3,))
    assert [type(layer) for layer in there.layers] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [layer.out_features for layer in back.layers if isinstance(layer, nn.Linear)] == [5, 7, 3]
