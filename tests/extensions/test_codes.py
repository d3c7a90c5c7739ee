"""Two quantised latents, one below the other, as in VQ-VAE-2: started in order, trained, a prior given a map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.pixelcnn_sampling import walk
from polyvae.model.posteriors import Codebook, Quantiser
from polyvae.model.priors import PixelCNNPrior, UniformPrior
from polyvae.objectives.terms import KL, CodebookCost, Commitment, Reconstruction


class Join(nn.Module):
    """A convolution of x beside the top map, which is laid over it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Conv2d(1 + width, width, 2, 2)

    def forward(self, x: Tensor, top: Tensor) -> Tensor:
        return self.net(torch.cat([x, nn.functional.interpolate(top, x.shape[2:])], 1))


class Decode(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2 * width, 8, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2))

    def forward(self, bottom: Tensor, top: Tensor) -> Tensor:
        return self.net(torch.cat([bottom, nn.functional.interpolate(top, bottom.shape[2:])], 1))


def two_maps(width: int = 3) -> pv.VAE:
    """q(top | x) at 2x2, q(bottom | x, top) at 4x4.

    Razavi, van den Oord, Vinyals: Generating Diverse High-Fidelity Images with VQ-VAE-2, 2019.
    """
    torch.manual_seed(0)
    top = Quantiser(nn.Conv2d(1, width, 4, 4), Codebook(8, width))
    bottom = Quantiser(Join(width), Codebook(16, width), ("x", "top"))
    priors = {"top": UniformPrior(top.codebook, (2, 2)), "bottom": UniformPrior(bottom.codebook, (4, 4))}
    head = pv.Conditional(Decode(width), pv.families.PixelNormal("learned"), ("bottom", "top"))
    return pv.VAE({"top": top, "bottom": bottom}, priors, head)


def recipe(samples: int = 1) -> pv.Recipe:
    model = two_maps()
    terms = {"reconstruction": Reconstruction(), "kl": KL(), "codebook": CodebookCost(), "commitment": Commitment()}
    return pv.Recipe(model, pv.Objective(terms, samples), start=model.start)


def test_codebooks_start_one_latent_after_the_other() -> None:
    model, x = two_maps(), torch.rand(60, 1, 8, 8)
    before = [model.posterior[name].codebook.weight.clone() for name in ("top", "bottom")]
    model.start({"x": x})
    for name, old in zip(("top", "bottom"), before, strict=True):
        assert not torch.equal(model.posterior[name].codebook.weight, old)
    # The bottom's words lie among what its network makes of x and the words of the top, which had started by then.
    top = model.encode({"x": x})["top"].mean
    encoded = model.posterior["bottom"].net(x, top).movedim(1, -1).flatten(0, 2)
    words = model.posterior["bottom"].codebook.weight
    assert torch.cdist(words, encoded).min(1).values.max() < 0.5 * encoded.std(0).norm()


def test_a_bare_model_starts_its_codebooks_too() -> None:
    data = pv.data.wrap(torch.rand(60, 1, 8, 8))
    before = two_maps().posterior["bottom"].codebook.weight.clone()
    run = pv.fit(two_maps(), data, epochs=1, max_steps=1, lr=1e-9, device="cpu", progress=False)
    moved = torch.cdist(run.model.posterior["bottom"].codebook.weight, before).min(1).values
    assert moved.max() > 0.1


@pytest.mark.parametrize("samples", [1, 2])
def test_terms_of_a_codebook_cost_the_same_for_any_number_of_samples(samples: int) -> None:
    made, x = recipe(samples), torch.rand(6, 1, 8, 8)
    made.model.eval()  # else the words move from call to call
    draw = made.model({"x": x}, samples)
    for term in (CodebookCost(), Commitment()):
        cost = term(draw)
        assert cost.shape == (samples, 6)
        torch.testing.assert_close(cost, term(made.model({"x": x}, 1)).expand(samples, 6))
    made.objective(made.model, {"x": x})["loss"].backward()


def test_two_maps_of_codes_train() -> None:
    torch.manual_seed(0)
    data = pv.data.wrap(torch.rand(200, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3))
    run = pv.fit(recipe(), data, epochs=6, batch_size=20, lr=5e-3, device="cpu", progress=False)
    found = [row["validation_reconstruction"] for row in run.history]
    assert found[-1] < found[0] - 20


@pytest.mark.parametrize("sides", [(4, 6), (2, 3), (1, 1)])
def test_a_condition_may_be_a_map_in_scores_and_in_draws(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = GatedPixelCNN((4, 6), 5, 8, (3, 3, 3), condition=3).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    y, codes = torch.randn(2, 3, *sides), torch.randint(5, (2, 4, 6))
    logits = net(codes, y)
    seen: list[Tensor] = []

    def choose(at: Tensor, row: int, column: int) -> Tensor:
        seen.append(at)
        return codes[:, row, column]

    assert torch.equal(walk(net, 2, choose, y), codes)
    torch.testing.assert_close(torch.stack(seen, 1).view_as(logits), logits, atol=1e-4, rtol=1e-4)
    if sides == (1, 1):
        torch.testing.assert_close(logits, net(codes, y.flatten(1)))
    else:  # each vector moves the rows that it covers, and those below them alone
        moved = y.clone()
        moved[:, :, -1, -1] += 1.0
        above = 4 - 4 // sides[0]
        assert torch.equal(net(codes, moved)[:, :above], logits[:, :above])
        assert not torch.equal(net(codes, moved)[:, -1, -1], logits[:, -1, -1])


def test_a_prior_of_codes_given_the_map_above_is_a_law() -> None:
    torch.manual_seed(0)
    model = two_maps()
    codebook = model.posterior["bottom"].codebook
    prior = PixelCNNPrior(GatedPixelCNN((4, 4), 16, 8, (3, 3), condition=3), codebook, (4, 4), ("top",))
    made = pv.VAE(
        dict(model.posterior.items()), {"top": model.prior["top"], "bottom": prior}, model.heads["x"].likelihood
    )
    draw = made({"x": torch.rand(5, 1, 8, 8)}, 2)
    assert draw.kl.shape == (2, 5)
    assert made.generate(count=3)["x"].batch_shape == (3,)
    with pytest.raises(ValueError, match=r"a condition of \[3, 3, 3\] does not cover a map of 4 x 4 evenly"):
        prior.net(torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 3, 3, 3))
