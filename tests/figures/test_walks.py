"""Traversals and interpolations: where they start, how they move and where they end."""

import numpy as np
import pytest
import torch

from helpers.figures import identity, model, split
from polyvae import figures
from polyvae.data.split import Split
from polyvae.evaluation import describe_codes


def test_traversals_move_one_dimension_at_a_time_and_stand_in_the_order_of_their_divergence():
    torch.manual_seed(0)
    data = Split({"x": torch.randn(50, 3) * torch.tensor([1.0, 3.0, 0.1])})
    made = identity(3)
    found = figures.traversals(made, data, example=4, steps=5, limit=2.0)
    assert [row.split("]")[0] for row in found.rows] == ["z[1", "z[0", "z[2"]
    np.testing.assert_allclose(found.positions, [-2, -1, 0, 1, 2])
    for row, dimension in enumerate((1, 0, 2)):
        expected = data.tensors["x"][4].repeat(5, 1)
        expected[:, dimension] = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
        np.testing.assert_allclose(found.pictures[row], expected.numpy(), atol=1e-6)
    centred = figures.traversals(made, data, example=None, steps=3).pictures
    np.testing.assert_allclose(centred[0], [[0, -3, 0], [0, 0, 0], [0, 3, 0]], atol=1e-6)


def test_traversals_rank_by_divergence_where_there_is_one():
    made = model()
    kl = describe_codes(made, split())["z"].kl
    found = figures.traversals(made, split(), rows=2)
    assert [row.split()[0] for row in found.rows] == [f"z[{j}]" for j in kl.argsort(descending=True)[:2].tolist()]
    assert "KL" in found.rows[0]


def test_the_lower_of_two_latents_follows_the_one_that_moves():
    made = model("two_level", top=2)
    top, lower = figures.traversals(made, split()), figures.traversals(made, split(), "z1")
    assert (len(top.rows), len(lower.rows)) == (2, 3)
    held = made.model.encode(split().batch(torch.tensor([0])))
    z2 = held["z2"].mean.clone()
    z2[:, int(top.rows[0][3])] = float(top.positions[0])
    values = {"z2": z2, "z1": made.model.prior["z1"]({"z2": z2}).mean}
    np.testing.assert_allclose(top.pictures[0, 0], made.model.decode(values)["x"].mean[0].detach().numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="a latent of the model is one of"):
        figures.traversals(made, split(), "z")


def test_interpolations_are_straight_and_end_at_the_two_codes():
    data = Split({"x": torch.tensor([[1.0, 0.0], [0.0, 1.0]])})
    found = figures.interpolations(identity(), data, steps=3)
    first, last = found.ends[0]
    np.testing.assert_allclose(found.pictures[0], [first, (first + last) / 2, last], atol=1e-6)


def test_spherical_interpolations_keep_the_length_and_turn_at_constant_speed():
    data = Split({"x": torch.tensor([[2.0, 0.0], [0.0, 2.0]])})
    found = figures.interpolations(identity(), data, steps=4, spherical=True).pictures[0]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2, atol=1e-5)
    angles = np.degrees(np.arctan2(found[:, 1], found[:, 0]))
    np.testing.assert_allclose(np.abs(np.diff(angles)), 30, atol=1e-3)
    same = figures.interpolations(identity(), Split({"x": torch.ones(2, 2)}), steps=3, spherical=True)
    np.testing.assert_allclose(same.pictures, 1, atol=1e-6)


def test_interpolation_needs_two_examples():
    with pytest.raises(ValueError, match="two examples"):
        figures.interpolations(identity(), Split({"x": torch.ones(1, 2)}))
