"""The baselines of completion: gappy PCA against exact cases, interpolation against planes and brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.completion.gappy_pca import GappyPCA, best_rank, usual_ranks
from polyvae.completion.interpolation import METHODS, interpolate


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of_rank(rank: int, count: int = 60, shape: tuple[int, ...] = (2, 4, 5), noise: float = 0.0, decay: float = 1.0):
    """Examples in an affine space of so many dimensions, and noise around it."""
    generator = random(1)
    axes = torch.randn(rank, *shape, generator=generator, dtype=torch.float64)
    codes = torch.randn(count, rank, generator=generator, dtype=torch.float64) * decay ** torch.arange(rank)
    centre = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return centre + torch.tensordot(codes, axes, 1) + noise * torch.randn(count, *shape, generator=generator).double()


def masks(count: int, points: int, side: tuple[int, int], seed: int = 0) -> torch.Tensor:
    order = torch.rand(count, side[0] * side[1], generator=random(seed)).argsort(1).argsort(1)
    return (order < points).double().view(count, 1, *side)


@pytest.mark.parametrize("points", [2, 3, 10])
def test_data_of_rank_r_are_recovered_exactly_from_at_least_r_values(points: int) -> None:
    x = of_rank(4)  # two channels: two points see four values
    mask = masks(20, points, (4, 5))
    made = GappyPCA(4).fit(x[20:]).complete(torch.where(mask.bool(), x[:20], torch.nan), mask)
    torch.testing.assert_close(made, x[:20], rtol=1e-6, atol=1e-6)


def test_tables_are_recovered_too() -> None:
    x = of_rank(3, shape=(12,)).float()
    mask = torch.rand(20, 12, generator=random(0)).argsort(1) < 4
    made = GappyPCA(3).fit(x[20:]).complete(x[:20], mask)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, x[:20], rtol=1e-3, atol=1e-3)


def test_coefficients_solve_each_examples_own_least_squares() -> None:
    x = of_rank(6, noise=0.3)
    fitted = GappyPCA(3).fit(x[20:])
    mask = masks(20, 7, (4, 5)) * (torch.arange(20) % 2).view(-1, 1, 1, 1)  # every other example sees nothing
    mask[1, :, :2] = 1  # and one more than the others
    found = fitted.coefficients(x[:20], mask)
    for row in range(20):
        seen = mask[row].bool().expand(2, 4, 5).flatten().numpy()
        design, rest = fitted.axes.T.numpy()[seen], (x[row].flatten() - fitted.mean).numpy()[seen]
        expected = np.linalg.lstsq(design, rest, rcond=None)[0] if seen.any() else np.zeros(3)
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-8, atol=1e-10)


def test_with_fewer_values_than_axes_the_fit_is_exact_on_them_and_of_least_norm() -> None:
    x = of_rank(8, shape=(1, 4, 5))
    fitted = GappyPCA(8).fit(x)
    mask = masks(10, 3, (4, 5))
    found, made = fitted.coefficients(x[:10], mask), fitted.complete(x[:10], mask)
    seen = mask.bool()
    torch.testing.assert_close(made[seen], x[:10][seen])
    for row in range(10):
        design = fitted.axes.T[mask[row].flatten().bool()]
        expected = torch.linalg.pinv(design) @ (x[row].flatten() - fitted.mean)[mask[row].flatten().bool()]
        torch.testing.assert_close(found[row], expected)


def test_with_nothing_seen_the_mean_is_all_there_is() -> None:
    x = of_rank(3)
    made = GappyPCA(3).fit(x).complete(x[:5], torch.zeros(1, 1, 4, 5))
    torch.testing.assert_close(made, x.mean(0).expand(5, 2, 4, 5))


def test_the_best_rank_is_the_true_one_where_the_data_have_one() -> None:
    x = of_rank(3, count=300, noise=0.05)
    found = best_rank(x[100:], x[:100], masks(100, 8, (4, 5)), range(1, 13))
    assert found.rank == 3
    assert set(found.errors) == set(range(1, 13))
    assert found.errors[3] == min(found.errors.values())
    assert found.errors[12] > 3 * found.errors[3]  # as many axes as values: next to singular


def test_few_points_take_a_lower_rank_than_many_and_noisy_ones_a_lower_rank_than_clean_ones() -> None:
    x = of_rank(6, count=300, noise=0.02, decay=0.5)
    basis = GappyPCA(12).fit(x[100:])
    few, many = masks(100, 2, (4, 5)), masks(100, 15, (4, 5))
    assert best_rank(basis, x[:100], few).rank < best_rank(basis, x[:100], many).rank
    noisy = x[:100] + 2 * torch.randn(100, 2, 4, 5, generator=random(2)).double()
    some = masks(100, 5, (4, 5))
    assert best_rank(basis, x[:100], some, observed=noisy).rank < best_rank(basis, x[:100], some).rank


def test_where_a_point_says_next_to_nothing_the_mean_alone_is_best() -> None:
    x = torch.randn(300, 1, 4, 5, generator=random(0), dtype=torch.float64)  # no value knows of another
    chosen = best_rank(x[100:], x[:100], masks(100, 2, (4, 5)))
    assert chosen.rank == 0
    torch.testing.assert_close(chosen.complete(x[:3], masks(3, 2, (4, 5))), x[100:].mean(0).expand(3, 1, 4, 5))
    torch.testing.assert_close(GappyPCA(0).fit(x[100:]).mean, chosen.mean)


def test_the_best_rank_is_the_same_from_a_basis_and_from_the_examples() -> None:
    x = of_rank(5, noise=0.1)
    mask = masks(20, 6, (4, 5))
    first, second = best_rank(x[20:], x[:20], mask), best_rank(GappyPCA(39).fit(x[20:]), x[:20], mask)
    assert first.rank == second.rank
    assert first.errors == pytest.approx(second.errors)


def test_chunks_do_not_change_a_completion() -> None:
    x, mask = of_rank(5, noise=0.1), masks(60, 6, (4, 5))
    fitted = GappyPCA(4).fit(x)
    torch.testing.assert_close(fitted.complete(x, mask, chunk=7), fitted.complete(x, mask))


def test_ranks_are_dense_where_they_are_low() -> None:
    assert usual_ranks(0) == [0]
    assert usual_ranks(1) == [0, 1]
    assert usual_ranks(20) == [*range(17), 18, 20]
    assert usual_ranks(300)[-1] == 300
    assert len(usual_ranks(300)) < 40


def test_what_gappy_pca_cannot_do_is_refused() -> None:
    x, mask = of_rank(3), masks(60, 3, (4, 5))
    with pytest.raises(ValueError, match="rank is at least 0; got -1"):
        GappyPCA(-1)
    with pytest.raises(ValueError, match="fit it first"):
        GappyPCA(2).complete(x, mask)
    with pytest.raises(ValueError, match="whole examples"):
        GappyPCA(2).fit(torch.full((3, 4), torch.nan))
    with pytest.raises(ValueError, match="at least two examples; got 1"):
        GappyPCA(2).fit(x[:1])
    fitted = GappyPCA(2).fit(x)
    with pytest.raises(ValueError, match=r"shape \[2, 4, 5\]; got \[1, 4, 5\]"):
        fitted.complete(x[:, :1], mask)
    with pytest.raises(ValueError, match=r"a row for each example or one for all; got \[3, 1, 4, 5\]"):
        fitted.complete(x, mask[:3])
    with pytest.raises(ValueError, match=r"0..2; got 3"):
        fitted.of_rank(3)
    with pytest.raises(ValueError, match="everything is seen"):
        best_rank(x, x, torch.ones(1, 1, 4, 5))
    with pytest.raises(ValueError, match="none of the ranks"):
        best_rank(fitted, x, mask, [7])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(2, 7), st.integers(2, 7), st.integers(0, 8), st.sampled_from(sorted(METHODS)))
def test_interpolation_keeps_what_is_seen_and_stays_within_it(
    channels: int, height: int, width: int, points: int, method: str
) -> None:
    x = torch.rand(3, channels, height, width, generator=random(points))
    mask = masks(3, points, (height, width), seed=points)
    made = interpolate(torch.where(mask.bool(), x, torch.nan), mask, method, empty=0.25)
    seen = mask.bool().expand_as(x)
    torch.testing.assert_close(made[seen], x[seen])
    for picture, whole, known in zip(made, x, seen, strict=True):
        if bool(known.any()):
            for channel in range(channels):
                values = whole[channel][known[channel]]
                assert values.min() - 1e-6 <= picture[channel].min()
                assert picture[channel].max() <= values.max() + 1e-6
        else:
            assert bool((picture == 0.25).all())


def test_a_plane_is_found_exactly_within_the_seen_pixels() -> None:
    row, column = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    x = torch.stack([row + 2 * column, 5 - row]).expand(2, 2, 6, 8)
    mask = masks(2, 5, (6, 8))
    mask[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] = 1
    torch.testing.assert_close(interpolate(x, mask), x)


def test_the_nearest_pixel_is_the_nearest_by_brute_force() -> None:
    x, mask = torch.rand(4, 1, 5, 9, generator=random(0)), masks(4, 6, (5, 9))
    made = interpolate(x, mask, "nearest")
    for picture, whole, known in zip(made, x, mask, strict=True):
        points = known[0].nonzero()
        for place in np.ndindex(5, 9):
            apart = (points - torch.tensor(place)).square().sum(1)
            nearest = whole[0][tuple(points[apart == apart.min()].T)]
            assert picture[0][place] in nearest


def test_pixels_on_one_line_or_two_alone_make_no_triangle_and_linear_is_nearest() -> None:
    x = torch.rand(2, 3, 5, 5, generator=random(0))
    mask = torch.zeros(2, 1, 5, 5)
    mask[0, 0, 2, [0, 2, 4]] = 1
    mask[1, 0, [0, 4], [1, 3]] = 1
    torch.testing.assert_close(interpolate(x, mask), interpolate(x, mask, "nearest"))


def test_one_mask_for_all_is_that_mask_for_each() -> None:
    x, mask = torch.rand(4, 2, 5, 6, generator=random(0)), masks(1, 7, (5, 6))
    for method in METHODS:
        torch.testing.assert_close(interpolate(x, mask, method), interpolate(x, mask.repeat(4, 1, 1, 1), method))


def test_with_nothing_seen_a_picture_is_what_was_given_for_it() -> None:
    mean = torch.rand(2, 3, 4)
    made = interpolate(torch.rand(5, 2, 3, 4), torch.zeros(1, 1, 3, 4), empty=mean)
    torch.testing.assert_close(made, mean.expand(5, 2, 3, 4))


def test_what_cannot_be_interpolated_is_refused() -> None:
    x = torch.rand(2, 1, 3, 4)
    with pytest.raises(ValueError, match="method is one of nearest, linear; got 'cubic'"):
        interpolate(x, torch.ones(2, 1, 3, 4), "cubic")
    with pytest.raises(ValueError, match=r"x is \[N, C, H, W\]; got \[2, 12\]"):
        interpolate(x.flatten(1), torch.ones(2, 12))
    with pytest.raises(ValueError, match=r"mask is \[2 or 1, 1, 3, 4\]; got \[2, 1, 4, 3\]"):
        interpolate(x, torch.ones(2, 1, 4, 3))
