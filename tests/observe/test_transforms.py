"""Batch transforms: exact values, the right distribution, nothing changed behind the caller's back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.observe.transforms import Binarise, Chain, Dequantise, OneHot, chain


def test_threshold_is_one_above_a_half():
    x = torch.tensor([[0.0, 0.49, 0.5, 0.51, 1.0]])
    y = torch.tensor([3])
    found = Binarise()({"x": x, "y": y})
    assert found["x"].tolist() == [[0, 0, 0, 1, 1]]
    assert found["x"].dtype == torch.float32
    assert found["y"] is y


def test_dynamic_binarisation_has_the_picture_as_its_mean_and_is_redrawn():
    torch.manual_seed(0)
    x = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).expand(20000, 5)
    draw = Binarise("dynamic")
    first, second = draw({"x": x})["x"], draw({"x": x})["x"]
    assert set(first.unique().tolist()) == {0.0, 1.0}
    error = (x[0] * (1 - x[0]) / len(x)).sqrt()
    assert ((first.mean(0) - x[0]).abs() <= 4 * error).all()
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(draw({"x": x})["x"], first)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([2, 3, 5, 16, 100, 256]), st.sampled_from([(1,), (3, 4), (2, 5, 7)]), st.integers(0, 2**31))
def test_dequantised_values_keep_their_level_and_stay_below_one(levels, shape, seed):
    torch.manual_seed(seed)
    k = torch.randint(levels, (50, *shape))
    x = k / (levels - 1)
    found = Dequantise(levels)({"x": x})["x"]
    assert found.shape == x.shape
    assert found.min() >= 0
    assert found.max() < 1
    assert torch.equal((found.double() * levels + 1e-9).floor().long(), k)


def test_dequantised_brightest_pixels_never_reach_one():
    # With plain float32 rounding 255 + u becomes 256 once in some 130,000 pixels.
    found = Dequantise()({"x": torch.ones(4_000_000)})["x"]
    assert found.max() < 1


def test_dequantisation_noise_is_uniform():
    torch.manual_seed(1)
    u = Dequantise(256)({"x": torch.full((100_000,), 7 / 255)})["x"].double() * 256 - 7
    assert u.mean().item() == pytest.approx(1 / 2, abs=4 * math.sqrt(1 / 12 / len(u)))
    counts = torch.histc(u.float(), 20, 0, 1)
    chi_square = ((counts - len(u) / 20) ** 2 / (len(u) / 20)).sum()
    assert chi_square < 43.8  # 0.1 % of a chi-square of 19 degrees lies above


def test_the_dequantised_density_bounds_the_discrete_probability():
    # p(x') = 2 x' on [0, 1): P(k) = ((k+1)^2 - k^2) / levels^2; E log p(x') - log(levels) <= log P(k).
    levels, k = 4, torch.arange(4)
    torch.manual_seed(2)
    x = Dequantise(levels)({"x": (k / (levels - 1)).expand(100_000, 4)})["x"].double()
    bound = (2 * x).log().mean(0) - math.log(levels)
    exact = ((2 * k + 1) / levels**2).double().log()
    assert (bound <= exact).all()
    assert (exact - bound)[1:].max() < 0.05


def test_one_hot_labels():
    y = torch.tensor([2, 0, 1])
    found = OneHot("y", 3)({"y": y})
    assert found["y"].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert found["y"].dtype == torch.float32
    with pytest.raises((IndexError, RuntimeError)):
        OneHot("y", 2)({"y": y})


def test_a_transform_reads_and_writes_the_name_it_is_given():
    values = {"image": torch.tensor([[0.7]]), "label": torch.tensor([1])}
    both = chain(Binarise(name="image"), OneHot("label", 2))
    assert both(values)["image"].tolist() == [[1.0]]
    assert both(values)["label"].tolist() == [[0.0, 1.0]]
    assert values["label"].tolist() == [1]


def test_chain_goes_first_to_last_and_is_flat():
    def double(values):
        return {**values, "x": 2 * values["x"]}

    def add(values):
        return {**values, "x": values["x"] + 1}

    x = torch.ones(2, 1)
    assert chain(double, add)({"x": x})["x"].tolist() == [[3.0], [3.0]]
    assert chain(add, double)({"x": x})["x"].tolist() == [[4.0], [4.0]]
    assert chain(chain(double, None), add) == Chain((double, add))
    values = {"x": x}
    assert chain()(values) == values
    assert chain()(values) is not values


@pytest.mark.parametrize("transform", [Binarise(), Binarise("dynamic"), Dequantise(), chain(Binarise(), Dequantise(2))])
def test_a_transform_leaves_its_argument_alone(transform):
    x = torch.rand(8, 1, 3, 3)
    values, before = {"x": x}, x.clone()
    transform(values)
    assert torch.equal(values["x"], before)
    assert values["x"] is x


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match=r"threshold, dynamic; got 'fixed'"):
        Binarise("fixed")
    with pytest.raises(ValueError, match="at least 2; got 1"):
        Dequantise(1)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        OneHot("y", 0)
