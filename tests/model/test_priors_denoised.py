"""Readings without noise given noisy ones, on a surface that is a plane, where all has a closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, MultivariateNormal

from polyvae.model.priors.denoised import Denoised

OFFSET = torch.tensor([1.0, -2.0, 0.5, 3.0])
SLOPES = torch.tensor([[1.0, 0.2], [-0.5, 1.0], [0.3, -0.8], [2.0, 0.6]])
WIDTH = 0.25
CENTRES = torch.cartesian_prod(*[torch.special.ndtri((torch.arange(9) + 0.5) / 9)] * 2)
CENTRES = CENTRES[torch.randperm(81, generator=torch.Generator().manual_seed(0))]
MEANS = OFFSET + CENTRES @ SLOPES.T


def prior(noise: Tensor) -> Denoised:
    """A prior of a table whose readings are linear in places."""
    made = Denoised(torch.arange(4), 4 + torch.arange(4), noise, 400)
    made.set(CENTRES.double(), MEANS.double(), WIDTH, torch.full((4,), 1e-6))
    return made


def observed(read: Tensor, works: Tensor | None = None) -> dict[str, Tensor]:
    works = torch.ones_like(read) if works is None else works.expand_as(read)
    return {"m": torch.cat([read * works, works], 1)}


def exact(read: Tensor, noise: Tensor, works: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B, R] and covariance [B, R, R] of a mixture of normals on the plane, conditioned and weighed anew."""
    held, spread = works.bool(), WIDTH**2 * SLOPES @ SLOPES.T
    total = spread[held][:, held] + (noise[held].square() + 1e-9).diag()
    gain = spread[:, held] @ torch.linalg.inv(total)
    apart = read[:, None, held] - MEANS[:, held]
    weights = MultivariateNormal(torch.zeros(len(total)), total).log_prob(apart).softmax(1)
    means = MEANS + apart @ gain.T
    mean = torch.einsum("bn,bnr->br", weights, means)
    rest = means - mean[:, None]
    return mean, spread - gain @ spread[held] + torch.einsum("bn,bnr,bns->brs", weights, rest, rest)


def readings(count: int = 6, seed: int = 0) -> Tensor:
    return OFFSET + torch.randn(count, 2, generator=torch.Generator().manual_seed(seed)).clamp(-1.3, 1.3) @ SLOPES.T


@pytest.mark.parametrize(
    ("noise", "works"),
    [
        ([0.3, 0.3, 0.3, 0.3], [1, 1, 1, 1]),
        ([0.05, 0.5, 0.2, 1.0], [1, 1, 1, 1]),  # of its own for each column
        ([0.3, 0.3, 0.3, 0.3], [1, 0, 1, 1]),
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0]),
    ],
)
def test_mean_and_covariance_are_those_of_a_normal_law(noise: list[float], works: list[int]) -> None:
    scale, held = torch.tensor(noise), torch.tensor(works).float()
    read = readings() + scale * torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    law = prior(scale)(observed(read, held))
    loc, spread = exact(read, scale, held)
    deviation = spread.diagonal(dim1=1, dim2=2).sqrt()
    assert ((law.mean - loc) / deviation).square().mean().sqrt() < 0.12
    z = law.sample((2000,)) - law.mean
    found = torch.einsum("kbi,kbj->bij", z, z) / len(z)
    apart = (found - spread) / (deviation[:, :, None] * deviation[:, None])
    assert apart.square().mean().sqrt() < 0.15
    assert apart.mean(0).abs().max() < 0.12


def test_without_noise_z_is_m() -> None:
    made = prior(torch.zeros(4))
    read = readings()
    law = made(observed(read))
    assert torch.equal(law.mean, read)
    assert torch.allclose(law.variance, torch.tensor(1e-12))


def test_without_noise_a_sensor_that_failed_is_told_by_the_others() -> None:
    made = prior(torch.zeros(4))
    read = readings()
    law = made(observed(read, torch.tensor([1.0, 1.0, 0.0, 1.0])))
    assert torch.allclose(law.mean[:, [0, 1, 3]], read[:, [0, 1, 3]])
    assert torch.allclose(law.mean[:, 2], read[:, 2], atol=0.03)  # two readings tell a place of a plane


def test_a_reading_without_noise_beside_noisy_ones_stands() -> None:
    noise, read = torch.tensor([0.0, 0.5, 0.5, 0.5]), readings()
    law = prior(noise)(observed(read))
    expected, spread = exact(read, noise, torch.ones(4))
    assert torch.allclose(law.mean[:, 0], read[:, 0], atol=1e-5)
    rest = (law.mean - expected)[:, 1:] / spread.diagonal(dim1=1, dim2=2)[:, 1:].sqrt()
    assert rest.square().mean().sqrt() < 0.2


def test_where_no_sensor_works_the_prior_of_the_readings_stands() -> None:
    law = prior(torch.full((4,), 0.1))(observed(readings(), torch.zeros(4)))
    variance = MEANS.var(0, correction=0) + WIDTH**2 * SLOPES.square().sum(1)
    assert ((law.mean - MEANS.mean(0)).abs() / variance.sqrt()).max() < 0.15
    assert ((law.variance / variance).log().abs() < 0.2).all()


def test_a_row_is_told_the_same_alone_and_among_others() -> None:
    made = prior(torch.full((4,), 0.2))
    read = readings(8)
    together = made(observed(read)).mean
    alone = torch.cat([made(observed(each)).mean for each in read.split(1)])
    # A step that single precision takes in the one and not in the other changes a few particles.
    assert ((together - alone).abs() < 1e-4).float().mean() > 0.8
    assert (together - alone).abs().max() < 0.1
    assert torch.equal(made(observed(read)).mean, together)


def test_log_prior_is_the_mixture_around_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    made = prior(torch.ones(4))
    u = torch.randn(5, 3, 2)
    parts = torch.distributions.Independent(torch.distributions.Normal(made.centres, made.bandwidth), 1)
    law = MixtureSameFamily(torch.distributions.Categorical(torch.ones(len(made.centres))), parts)
    assert torch.allclose(made.log_prior(u), law.log_prob(u), atol=1e-4)
    monkeypatch.setattr("polyvae.model.priors.denoised.AT_ONCE", 300)
    assert torch.allclose(made.log_prior(u), law.log_prob(u), atol=1e-4)


def test_channels_of_a_picture_are_read_with_one_mask() -> None:
    places = torch.tensor([1, 4])
    index = (torch.arange(2)[:, None] * 6 + places).flatten()
    made = Denoised(index, 12 + index % 6, torch.tensor([0.0, 0.0, 0.3, 0.3]))
    x, mask = torch.arange(12.0).view(1, 2, 2, 3), torch.zeros(1, 1, 2, 3)
    mask.view(-1)[[1]] = 1
    read, works = made.readings(torch.cat([x, mask], 1))
    assert read.tolist() == [[1, 4, 7, 10]]
    assert works.tolist() == [[True, False, True, False]]


def test_a_state_of_more_examples_is_loaded() -> None:
    noise = torch.full((4,), 0.2)
    made = prior(noise)
    other = Denoised(torch.arange(4), 4 + torch.arange(4), noise, 400)
    assert torch.equal(other(observed(readings())).mean, readings())  # of nothing known z is what is read
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(observed(readings())).mean, made(observed(readings())).mean)
    assert repr(other).startswith("Denoised(\n  readings=4, examples=81")
