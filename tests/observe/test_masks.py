"""Observations: m of any shape, nothing unseen in it, redrawn and repeated, made by name, mistakes named."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError

import pytest
import torch

import polyvae as pv
from helpers.observing import masks
from helpers.waiting import Watch
from polyvae.observe.masks import (
    WHERE,
    Box,
    Constant,
    Counts,
    Gaussian,
    Given,
    Grid,
    Half,
    Points,
    PowerLaw,
    Share,
    SparsePixels,
    Uniform,
    Where,
    observation,
    observation_shape,
    sparse,
    split_observation,
)


def test_m_is_what_is_seen_and_the_mask() -> None:
    x = torch.arange(1.0, 13.0).view(1, 2, 2, 3)
    mask = torch.tensor([[1, 0, 0], [0, 1, 1]])
    m = sparse(x, mask)
    assert m.tolist() == [[[[1, 0, 0], [0, 5, 6]], [[7, 0, 0], [0, 11, 12]], [[1, 0, 0], [0, 1, 1]]]]
    assert torch.equal(sparse(x, mask.bool()[None, None]), m)
    seen, back = split_observation(m, 2)
    assert torch.equal(seen, x * mask)
    assert torch.equal(back[0, 0], mask.float())
    table = sparse(x.view(2, 6), torch.tensor([1, 0, 0, 0, 0, 1]))
    assert table.tolist() == [[1, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 1], [7, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 1]]
    assert split_observation(table, 6)[1][0].tolist() == [1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("shape", [(3, 5, 9), (1, 1, 1), (13,)])
def test_the_shape_of_m_is_known_beforehand(shape: tuple) -> None:
    m = observation("uniform", 0.3)({"x": torch.rand(4, *shape)})["m"]
    assert m.shape == (4, *observation_shape(shape))
    seen, mask = split_observation(m, shape[0])
    assert torch.equal(seen, seen * mask)


def test_unseen_values_that_are_no_numbers_do_not_leak() -> None:
    x = torch.rand(8, 3, 6, 7)
    transform = observation("uniform", 10)
    torch.manual_seed(10)
    hidden = transform.mask(x) == 0
    broken = x.masked_fill(hidden, math.nan)
    broken[0] = x[0].masked_fill(hidden[0], -math.inf)
    torch.manual_seed(10)
    clean = transform({"x": x})["m"]
    torch.manual_seed(10)
    assert torch.equal(transform({"x": broken})["m"], clean)
    x.requires_grad_()
    torch.manual_seed(10)
    transform({"x": x})["m"].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, (~hidden).float().expand_as(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["uniform", "gaussian", "grid", "box", "left"])
def test_the_number_type_and_the_device_are_kept(name: str, dtype: torch.dtype) -> None:
    transform = observation(name, 7)
    x = torch.rand(2, 3, 6, 7).to(dtype)
    assert transform({"x": x})["m"].dtype == dtype
    assert transform.mask(x).dtype == dtype


@pytest.mark.parametrize("name", ["uniform", "gaussian", "grid", "box", "left"])
@pytest.mark.parametrize("exponent", [None, 3.0])
def test_masks_are_redrawn_at_every_call_and_repeated_by_a_seed(name: str, exponent: float | None) -> None:
    x = torch.rand(16, 1, 12, 9)
    transform = observation(name, exponent=exponent)
    torch.manual_seed(11)
    first, second = transform({"x": x})["m"], transform({"x": x})["m"]
    torch.manual_seed(11)
    assert torch.equal(transform({"x": x})["m"], first)
    assert torch.equal(first, second) == (exponent is None and name in ("grid", "left"))


@pytest.mark.parametrize("name", ["uniform", "gaussian", "grid", "box", "left"])
@pytest.mark.parametrize("exponent", [None, 3.0])
def test_masks_wait_for_no_device(name: str, exponent: float | None) -> None:
    watch, transform = Watch(), observation(name, exponent=exponent)
    with watch:
        transform({"x": torch.rand(16, 1, 12, 9)})
    assert watch.seen == []


def test_masks_made_in_inference_may_be_trained_on() -> None:
    x = torch.rand(2, 1, 5, 11)
    transform = observation("grid", 5)
    with torch.inference_mode():
        transform({"x": x})
    m = transform({"x": x.requires_grad_()})["m"]
    m.square().sum().backward()
    assert x.grad is not None


def test_the_transform_adds_m_and_leaves_the_rest_alone() -> None:
    x, y = torch.rand(3, 2, 4, 4), torch.arange(3)
    before = x.clone()
    values = {"x": x, "y": y}
    found = SparsePixels(Uniform(), Constant(3))(values)
    assert set(values) == {"x", "y"}
    assert found["x"] is x
    assert found["y"] is y
    assert torch.equal(x, before)
    other = SparsePixels(Uniform(), Constant(3), of="image", name="seen")({"image": x})
    assert set(other) == {"image", "seen"}


# By name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, SparsePixels(Uniform(), Share(0.05))),
        ({"mask": "gaussian", "count": 40}, SparsePixels(Gaussian(), Constant(40))),
        ({"mask": "uniform", "exponent": 20}, SparsePixels(Uniform(), PowerLaw(20))),
        ({"mask": "uniform", "count": 0.05, "exponent": 20}, SparsePixels(Uniform(), PowerLaw(20))),
        ({"mask": "uniform", "count": 0}, SparsePixels(Uniform(), Constant(0))),
        ({"mask": "grid", "count": 16}, SparsePixels(Grid(16))),
        ({"mask": "grid", "count": 16, "exponent": 2}, SparsePixels(Grid(16), PowerLaw(2))),
        ({"mask": "box", "count": 0.1}, SparsePixels(Box(0.1))),
        ({"mask": "half"}, SparsePixels(Half("left"))),
        ({"mask": "bottom", "count": 9}, SparsePixels(Half("bottom"), Constant(9))),
        ({"mask": "points", "positions": [[1, 2], [3, 0]]}, SparsePixels(Points(((1, 2), (3, 0))))),
        ({"mask": "points", "positions": [1, 4], "count": 0.5}, SparsePixels(Points((1, 4)), Share(0.5))),
    ],
)
def test_observations_by_name(arguments: dict, expected: SparsePixels) -> None:
    assert observation(**json.loads(json.dumps(arguments))) == expected


def test_parts_are_values_with_a_repr_that_makes_them_again() -> None:
    names = {kind.__name__: kind for kind in (*WHERE.values(), Constant, Share, PowerLaw, SparsePixels)}
    for transform in (observation(), observation("grid", exponent=2.0), observation("points", positions=[[1, 2]])):
        assert eval(repr(transform), names) == transform
        assert hash(eval(repr(transform), names)) == hash(transform)
    assert repr(Given(torch.eye(3))) == "Given(a mask [3, 3] with 3 ones)"
    with pytest.raises(FrozenInstanceError):
        observation().count = None  # type: ignore[misc]
    assert pv.masks.observation is observation


# Mistakes


def picture(where: Where, count: Counts | None = None, batch: int = 2) -> None:
    masks(where, count, batch, 1, 4, 6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Constant(-1), "counts pixels, a whole number from 0; got -1"),
        (lambda: Constant(2.5), "a whole number from 0; got 2.5"),  # type: ignore[arg-type]
        (lambda: picture(Uniform(), Constant(25)), "25 pixels; the mask has 24 places"),
        (lambda: picture(Points([[0, 0]]), Constant(2)), "2 pixels; the mask has 1 places"),
        (lambda: Share(1.01), "from 0 to 1; got 1.01"),
        (lambda: Share(-0.1), "from 0 to 1; got -0.1"),
        (lambda: Share(math.nan), "from 0 to 1; got nan"),
        (lambda: PowerLaw(0), "above 0, as 20 or 40; got 0"),
        (lambda: PowerLaw(-3), "above 0, as 20 or 40; got -3"),
        (lambda: PowerLaw(math.inf), "above 0, as 20 or 40; got inf"),
        (lambda: Gaussian(0), "above 0, as 1/6; got 0"),
        (lambda: Grid(0), "a whole number of pixels from 1, or a share of them between 0 and 1; got 0"),
        (lambda: Grid(1.5), "between 0 and 1; got 1.5"),
        (lambda: Grid((0, 3)), r"a pair \(rows, columns\).*got \(0, 3\)"),
        (lambda: picture(Grid(25)), "25 pixels do not fit into 4 x 6: ask for at most 24"),
        (lambda: picture(Grid((5, 2))), "5 rows x 2 columns do not fit into 4 x 6 pixels"),
        (lambda: picture(Box((5, 2))), "5 rows x 2 columns do not fit"),
        (lambda: picture(Box((2, 2), (3, 0))), r"2 x 2 at \(3, 0\) does not fit into 4 x 6 pixels"),
        (lambda: Box((2, 2), (-1, 0)), r"\(top, left\), counted from 0; got \(-1, 0\)"),
        (lambda: Half("middle"), "left, right, top, bottom; got 'middle'"),
        (lambda: masks(Half("top"), None, 2, 5), "1 x 5 pixels has no top half"),
        (lambda: Points([]), "lists .* pairs"),
        (lambda: Points([[1, 2], [1, 2]]), "names a pixel twice"),
        (lambda: Points([[1, 2], [1]]), "lists .* pairs"),
        (lambda: Points([[0.5, 2]]), "whole numbers; got"),
        (lambda: Points([0, 99]).pixels(1, 8), "position 99 lies outside: columns go from 0 to 7"),
        (lambda: Constant(9).most(8), "^9 pixels; the mask has 8 places or columns"),
        (lambda: Points([[1, 2, 3]]), "lists .* pairs"),
        (lambda: picture(Points([[4, 0]])), r"\(4, 0\) lies outside the image: rows go from 0 to 3, columns .* to 5"),
        (lambda: picture(Points([[0, -1]])), r"\(0, -1\) lies outside"),
        (lambda: Given(torch.full((4, 6), 0.5)), "1 where a pixel is seen, 0 where it is hidden"),
        (lambda: Given(torch.full((4, 6), math.nan)), "1 where a pixel is seen, 0 where it is hidden"),
        (lambda: Given(torch.ones(2, 3, 4, 6)), r"got the shape \[2, 3, 4, 6\]"),
        (lambda: Given(torch.ones(0)), r"got the shape \[0\]"),
        (lambda: picture(Given(torch.ones(6, 4))), r"the shape \[6, 4\]; the images have 4 x 6 pixels"),
        (lambda: picture(Given(torch.ones(6))), r"the shape \[6\]; the images have 4 x 6 pixels"),
        (lambda: masks(Given(torch.ones(5)), None, 2, 4), r"the shape \[5\]; the images have 1 x 4 pixels"),
        (lambda: picture(Given(torch.ones(3, 1, 4, 6))), "3 masks for 2 images"),
        (lambda: masks(Given(torch.eye(3, 5).cumsum(0)), Constant(1), 3, 5), "masks with 1 to 3 ones"),
        (lambda: sparse(torch.ones(2, 3, 4, 6), torch.ones(2, 3, 4, 6)), r"has the shape \[2, 1, 4, 6\]; got"),
        (
            lambda: sparse(torch.ones(2, 3, 4), torch.ones(2, 3, 4)),
            r"\[B, C, H, W\] or tables \[B, d\]; got \[2, 3, 4\]",
        ),
        (lambda: SparsePixels().mask(torch.ones(3)), r"or tables \[B, d\]; got \[3\]"),
        (lambda: split_observation(torch.ones(2, 3, 4, 6), 3), r"of 3 channels has 4 in all; got m \[2, 3, 4, 6\]"),
        (lambda: observation_shape((3, 4)), r"or tables \(d,\); got \(3, 4\)"),
        (lambda: observation("unifrom"), "no mask is called 'unifrom'; known: uniform, gaussian, grid"),
        (lambda: observation("uniform", 40.0), "as 40, or a share of them below 1, as 0.05; got 40.0"),
        (lambda: observation("uniform", -1), "a whole number from 0; got -1"),
        (lambda: observation("points"), "positions go with mask 'points', which needs them; got None"),
        (lambda: observation("grid", positions=[[1, 2]]), "got \\[\\[1, 2\\]\\] and mask 'grid'"),
    ],
)
def test_mistakes_are_named(wrong, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
