"""Classes that were never seen: what counts as right, what is drawn for them, and what is learned from it."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

import polyvae as pv
from polyvae.evaluation.zero_shot import generalised, made_features, softmax_regression


def test_accuracies_are_means_over_classes_and_their_harmonic_mean() -> None:
    y = torch.tensor([0] * 8 + [1] * 2 + [2] * 4 + [3] * 1)
    found = y.clone()
    found[:4] = 2  # half of the first class
    found[10:13] = 0  # three quarters of the third
    scores = generalised(found, y, [2, 3])
    assert scores["seen"] == pytest.approx((0.5 + 1) / 2)
    assert scores["unseen"] == pytest.approx((0.25 + 1) / 2)
    assert scores["harmonic"] == pytest.approx(2 / (1 / 0.75 + 1 / 0.625))
    assert generalised(torch.zeros_like(y), y, [2, 3])["harmonic"] == 0
    for unseen, word in (([], "unseen"), ([0, 1, 2, 3], "seen")):
        with pytest.raises(ValueError, match=f"y holds no {word} class"):
            generalised(found, y, unseen)


def test_softmax_regression_finds_the_best_linear_classifier_of_normal_classes() -> None:
    """Equal covariances: the best classifier's logits are x' S^-1 m - m' S^-1 m / 2, whatever the classes' sizes."""
    torch.manual_seed(0)
    covariance = torch.tensor([[2.0, 0.8], [0.8, 1.0]]).double()
    means = torch.tensor([[0.0, 0.0], [2.0, 0.5], [0.0, 2.0]]).double()
    counts = [20_000, 5_000, 10_000]
    x = torch.cat([MultivariateNormal(m, covariance).sample((n,)) for m, n in zip(means, counts, strict=True)])
    y = torch.arange(3).repeat_interleave(torch.tensor(counts))
    found = softmax_regression(x, y, 3, decay=0.0)
    best = torch.linalg.solve(covariance, means.T)
    offsets = -0.5 * (means * best.T).sum(1)
    logits = found(means) - found(means)[:, :1]
    wanted = means @ best + offsets - (means @ best + offsets)[:, :1]
    torch.testing.assert_close(logits, wanted, atol=0.15, rtol=0)


@pytest.mark.parametrize("noise", [True, False])
def test_features_are_drawn_for_the_attributes_of_each_class_and_follow_from_the_seed(noise: bool) -> None:
    data = pv.data.wrap((torch.randn(40, 3), torch.randn(40, 2)), validation=8, test=0)
    made = pv.recipes.zero_shot_vae_gan(data, latent=2, network="mlp", widths=[4], critic=[4], seed=0)
    a = torch.randn(3, 2)
    first, again, other = (made_features(made, a, 5, seed, noise) for seed in (0, 0, 1))
    assert first.shape == (3, 5, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(made_features(made, a + 3, 5, 0, noise), first)
    with pytest.raises(ValueError, match="draws for each class"):
        made_features(made, a, 0)


@pytest.mark.slow
def test_features_of_classes_never_seen_are_told_apart_by_what_is_learned_from_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(24, 2, generator=generator) * 2 - 1
    y = torch.arange(20).repeat(60)
    drawn = lambda y: 3 * torch.cat([a[y], a[y].prod(1, True)], 1) + 0.2 * torch.randn(len(y), 3, generator=generator)  # noqa: E731
    x, unseen = drawn(y), [20, 21, 22, 23]
    data = pv.data.wrap((x, a[y]), validation=0.1, test=0)
    made = pv.recipes.zero_shot_vae_gan(data, latent=2, network="mlp", widths=[64], critic=[64], seed=0)
    run = pv.fit(made, data, epochs=40, batch_size=50, device="cpu", progress=False)
    more = made_features(run, a[unseen], 60).flatten(0, 1)
    labels = torch.cat([y, torch.tensor(unseen).repeat_interleave(60)])
    classifier = softmax_regression(torch.cat([x, more]), labels, 24)
    asked = torch.arange(24).repeat(50)
    scores = generalised(classifier(drawn(asked)).argmax(1), asked, unseen)
    assert scores["unseen"] > 0.6, scores
    assert F.softmax(classifier(more), 1).shape == (240, 24)
