"""The worlds of classes that were never seen: what is known of them is so."""

from __future__ import annotations

import pytest
import torch

from examples import zero_shot
from polyvae.evaluation import generalised


def test_no_method_beats_the_best_classifier_of_the_attribute_world() -> None:
    world = zero_shot.attribute_world(0)
    x, y = world.test
    assert world.best is not None
    best = generalised(world.best(x), y, world.unseen)
    assert best["harmonic"] == pytest.approx(0.93, abs=0.05)
    for method in (zero_shot.nearest_attributes, zero_shot.predicted_means):
        scores = generalised(method(world, 0)(x), y, world.unseen)
        assert 0.1 < scores["harmonic"] < best["harmonic"]
    real = generalised(zero_shot.regression(world, *world.more)(x), y, world.unseen)
    assert zero_shot.predicted_means(world, 0)(x).shape == y.shape
    assert 0.5 < real["harmonic"] < best["harmonic"]
    assert set(world.train[1].tolist()).isdisjoint(world.unseen)


def test_strokes_of_a_bar_are_its_length_its_slant_and_how_often_lines_cross_it() -> None:
    upright, lying, slanted = torch.zeros(3, 1, 28, 28)
    upright[0, 4:24, 13:15] = 1
    lying[0, 13:15, 4:24] = 1
    for place in range(4, 24):
        slanted[0, place, place] = 1
    found = zero_shot.strokes(torch.stack([upright, lying, slanted]))
    assert found.shape == (3, 15)
    ink, wide, high, slant = found[:, :4].T
    assert ink.tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert high[0] == pytest.approx(wide[1].item())
    assert high[0] > 5 * wide[0]
    assert slant.tolist() == pytest.approx([0.0, 0.0, 1.0], abs=1e-4)
    assert found[:, 12].tolist() == [1, 0, 1]  # a row near the top
    assert found[1, 13] == 1
