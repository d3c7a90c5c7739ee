"""Our quantisers beside those of vector-quantize-pytorch: the same codes, values and gradients where both are right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from polyvae.model.posteriors import Codebook, FiniteScalar, LookupFree, Residual, lattice

peer: Any = pytest.importorskip("vector_quantize_pytorch")


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("rotation", [False, True])
def test_the_nearest_word_its_costs_and_both_gradients(rotation: bool) -> None:
    torch.manual_seed(0)
    ours = Codebook(9, 4, rotation=rotation).eval()
    options: Any = {"learnable_codebook": True, "ema_update": False, "commitment_weight": 1.0}
    theirs = peer.VectorQuantize(4, 9, rotation_trick=rotation, **options).eval()
    with torch.no_grad():
        ours.weight.normal_()
        theirs._codebook.embed.copy_(ours.weight[None])
    theirs.train()
    e = rows(2, 7, 4)
    z, codes, _ = theirs(e)
    law = ours.quantise(e.movedim(2, 1))
    assert torch.equal(law.codes, codes)
    torch.testing.assert_close(law.mean.movedim(1, 2), z)
    slope = torch.randn_like(z)
    mine, other = (torch.autograd.grad((v * slope).sum(), e, retain_graph=True)[0] for v in (law.mean.movedim(1, 2), z))
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_finite_scalar_codes_but_for_the_last_thousandth_of_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice, "_EDGE", -1e-3)  # theirs goes beyond the outermost level by it, the paper's below
    torch.manual_seed(0)
    ours, theirs = FiniteScalar((8, 5, 4)).eval(), peer.FSQ([8, 5, 4])
    e = rows(6, 50, 3)
    z, codes = theirs(e)
    law = ours.quantise(e.movedim(2, 1))
    torch.testing.assert_close(law.mean.movedim(1, 2), z)
    assert torch.equal(law.codes, codes.long())
    torch.testing.assert_close(ours.embed(law.codes).movedim(1, 2), theirs.indices_to_codes(codes))
    slope = torch.randn_like(z)
    mine, other = (torch.autograd.grad((v * slope).sum(), e, retain_graph=True)[0] for v in (law.mean.movedim(1, 2), z))
    torch.testing.assert_close(mine, other)


def test_lookup_free_codes_are_the_same_words_with_the_bits_in_the_other_order() -> None:
    torch.manual_seed(0)
    ours, theirs = LookupFree(5).eval(), peer.LFQ(dim=5, codebook_size=32).eval()
    e = rows(3, 20, 5)
    z, codes, _ = theirs(e)
    law = ours.quantise(e.movedim(2, 1))
    assert torch.equal(law.mean.movedim(1, 2), z)
    bits = [(codes // 2**place % 2) for place in range(4, -1, -1)]
    assert torch.equal(sum(bit * 2**place for place, bit in enumerate(bits)), law.codes)


def test_residual_codes_are_the_same_and_the_gradient_is_theirs_over_the_number_of_stages() -> None:
    torch.manual_seed(0)
    ours = Residual([Codebook(6, 3) for _ in range(3)]).eval()
    theirs = peer.ResidualVQ(dim=3, num_quantizers=3, codebook_size=6, rotation_trick=False).eval()
    with torch.no_grad():
        for words, layer in zip(ours.each, theirs.layers, strict=True):
            words.weight.normal_()
            layer._codebook.embed.copy_(words.weight[None])
            layer._codebook.initted.fill_(True)
    e = rows(4, 11, 3)
    z, codes, _ = theirs(e)
    law = ours.quantise(e.movedim(2, 1))
    assert torch.equal(law.codes.movedim(1, 2), codes)
    torch.testing.assert_close(law.mean.movedim(1, 2), z)
    theirs.train()
    for layer in theirs.layers:
        layer._codebook.ema_update = False
    z = theirs(e, freeze_codebook=True)[0]
    slope = torch.randn_like(z)
    mine, other = (torch.autograd.grad((v * slope).sum(), e, retain_graph=True)[0] for v in (law.mean.movedim(1, 2), z))
    torch.testing.assert_close(mine, slope)
    # Each stage passes the identity on, and what is left is cut off from the stage before it: three times the slope.
    torch.testing.assert_close(other, 3 * slope)
