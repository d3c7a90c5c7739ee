"""A network of an observation alone and one of z beside it: what each reads, and that draws of z share the first."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polyvae.model.networks import beside
from polyvae.model.networks.beside import Alone, Beside, Leading
from polyvae.model.networks.layers import LastConvolution
from polyvae.model.networks.sparse import MultiscaleDecoder, Root, multiscale

SIDES = st.tuples(st.integers(3, 12), st.integers(3, 12))


def observation(rows: int, dense: int, colours: int, sides: tuple[int, int]) -> Tensor:
    seen = (torch.rand(rows, 1, *sides) < 0.3).float()
    return torch.cat([torch.randn(rows, dense, *sides), torch.randn(rows, colours, *sides) * seen, seen], 1)


def settled(net: nn.Module) -> nn.Module:
    """With numbers in the place of zeros, and statistics of BatchNorm that are not those of the beginning."""
    for part in net.modules():
        if isinstance(part, LastConvolution):
            nn.init.normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return net.eval()


@settings(deadline=None)
@given(sides=SIDES, colours=st.integers(1, 3), dense=st.integers(0, 2), scales=st.integers(1, 3))
def test_alone_is_the_decoder_of_z_and_m_with_nothing_made_of_z(sides, colours, dense, scales) -> None:
    torch.manual_seed(0)
    m, channels, numbers = (dense + colours + 1, *sides), (5, 4, 6)[:scales], 2 * colours
    alone = settled(Alone(m, numbers, channels, dense))
    theirs = settled(multiscale([(3,), m], (numbers, *sides), channels, dense=dense))
    assert isinstance(alone, Alone)
    assert isinstance(theirs, MultiscaleDecoder)
    theirs.looks.load_state_dict(alone.looks.state_dict())
    theirs.last[0].load_state_dict(alone.last.state_dict())
    root = theirs.root[0]
    assert isinstance(root, Root)
    for parameter in root.parameters():
        nn.init.zeros_(parameter)
    for number, (mine, other) in enumerate(zip(alone.rises, list(theirs.rises)[::-1], strict=True)):
        state = dict(mine.state_dict())
        if not number:  # the first has maps of z, which are zero
            held = other.state_dict()["0.weight"].clone()
            held[channels[-1] :] = state["0.weight"]
            state["0.weight"] = held
        other.load_state_dict(state)
    seen = observation(3, dense, colours, sides)
    with torch.no_grad():
        expected = theirs(torch.randn(3, 3), seen)
        found = alone(seen)
    assert found.shape == (3, numbers + channels[0], *sides)
    torch.testing.assert_close(found[:, :numbers], expected, atol=1e-4, rtol=1e-4)


def test_alone_says_nothing_before_the_first_step() -> None:
    net, m = Alone((5, 8, 8), 3, (4, 6), 2), observation(4, 2, 2, (8, 8))
    assert not net(m)[:, :3].any()
    assert net(m)[:, 3:].any()
    torch.testing.assert_close(Leading(3)(net(m), m), net(m)[:, :3])


@settings(deadline=None)
@given(sides=SIDES, rows=st.integers(1, 3), draws=st.integers(1, 4), numbers=st.integers(1, 3), cached=st.booleans())
def test_draws_share_what_is_said_of_m_and_add_to_it(sides, rows, draws, numbers, cached) -> None:
    torch.manual_seed(0)
    alone, channels = torch.randn(rows, numbers + 4, *sides), (4, 6)
    net = settled(Beside((5,), (numbers + 4, *sides), numbers, channels))
    z = torch.randn(draws * rows, 5)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(beside, "CACHED", 1 if cached else 2**18)
        found = net(z, alone)
        assert found.shape == (draws * rows, numbers, *sides)
        torch.testing.assert_close(found, net(z, alone.repeat(draws, 1, 1, 1)), atol=1e-4, rtol=1e-4)
        # The raw numbers are added to, and not read.
        more = torch.cat([alone[:, :numbers] + 1, alone[:, numbers:]], 1)
        torch.testing.assert_close(net(z, more), found + 1, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(net(z + 1, alone), found)


def test_what_they_refuse() -> None:
    with pytest.raises(ValueError, match=r"\(C \+ 1, H, W\), after 2 dense channels"):
        Alone((3, 8, 8), 1, (4,), 2)
    with pytest.raises(ValueError, match="one width a layer"):
        Alone((3, 8, 8), 1, ())
    net = Beside((5,), (6, 8, 8), 2, (4,))
    with pytest.raises(ValueError, match="got 3 and 2"):
        net(torch.randn(3, 5), torch.randn(2, 6, 8, 8))
    with pytest.raises(ValueError, match="the network reads"):
        net(torch.randn(2, 4), torch.randn(2, 6, 8, 8))
