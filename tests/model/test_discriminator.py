"""A discriminator of pictures and tables: patches, spectral norms, what it reads."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from helpers.runs import same
from polyvae.model.networks.discriminator import Discriminator, Judging


def test_a_discriminator_judges_patches_and_its_spectral_norms_are_one() -> None:
    torch.manual_seed(0)
    patchy = Discriminator([(1, 32, 32)], judging=Judging((4, 6, 8), layer=2, patches=True, spectral=True)).train()
    x = torch.rand(2, 1, 32, 32)
    for _ in range(50):
        features, logits = patchy(x)
    assert (features.shape, logits.shape) == ((2, 6 * 8 * 8), (2, 16))
    for layer in (each for each in patchy.modules() if isinstance(each, nn.Conv2d)):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    far = x.clone()
    far[..., 28:, 28:] += 1
    patchy.eval()
    moved = (patchy(x)[1] - patchy(far)[1]).abs().view(2, 4, 4)
    assert moved[:, 0, 0].max() == 0
    assert moved[:, 3, 3].min() > 0
    for other in (copy.deepcopy(patchy), pickle.loads(pickle.dumps(patchy))):
        assert same(dict(patchy.state_dict()), dict(other.state_dict()))
        torch.testing.assert_close(other(x)[1], patchy(x)[1])
        assert not other.training


def test_a_discriminator_reads_what_stands_beside_x_and_no_other_example() -> None:
    torch.manual_seed(0)
    for shape in ((1, 8, 8), (5,)):
        critic = Discriminator([shape, (2,)], judging=Judging((4, 4)))
        x, y = torch.rand(3, *shape), torch.rand(3, 2)
        torch.testing.assert_close(critic(x, y)[1][:1], critic(x[:1], y[:1])[1])
        assert not torch.allclose(critic(x, y)[1], critic(x, y + 1)[1])
