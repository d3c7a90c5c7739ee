"""A normal law of pictures whose colours share one covariance in space: closed forms, draws, what is kept."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyvae.completion.normal import ConditionedNormal
from polyvae.model import separable
from polyvae.model.networks.expected import NormalExpected
from polyvae.model.separable import RIDGES, SeparableNormal, nearest
from polyvae.observe.masks import sparse


def pictures(count: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Smooth pictures with colours that go together, float64."""
    channels, height, width = shape
    draws = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=draws, dtype=torch.float64)
    coarse = torch.randn(count, channels, 2, 2, generator=draws, dtype=torch.float64)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    fine = fine + 0.3 * torch.randn(count, channels, height, width, generator=draws, dtype=torch.float64)
    return torch.einsum("cd,ndhw->nchw", mix, fine) + torch.arange(channels).view(-1, 1, 1)


def fitted(shape: tuple[int, int, int], seed: int = 0, ridge: float = 0.1) -> SeparableNormal:
    law = SeparableNormal(shape).double().fit(pictures(60, shape, seed))
    law.ridge.fill_(ridge)
    return law


@given(
    channels=st.integers(1, 3),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    rows=st.integers(1, 6),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_what_is_expected_is_the_conditional_of_the_kronecker_product(
    channels: int, height: int, width: int, rows: int, share: float, seed: int
) -> None:
    shape = (channels, height, width)
    law = fitted(shape, seed)
    draws = torch.Generator().manual_seed(seed)
    x = pictures(rows, shape, seed + 1)
    seen = (torch.rand(rows, 1, height, width, generator=draws) < share).double()
    whole = torch.kron(law.colours, law.kernel)
    expected = torch.empty(rows, len(whole), dtype=torch.float64)
    spread = torch.empty_like(expected)
    for row in range(rows):
        known = seen[row].expand(shape).flatten() != 0
        gain = torch.linalg.lstsq(whole[known][:, known], whole[known]).solution.T
        y = (x[row] - law.mean).flatten()[known]
        expected[row] = law.mean.flatten() + gain @ y
        spread[row] = (whole - gain @ whole[known]).diagonal().clamp(min=0).sqrt()
    mean, std = law(x, seen)
    assert torch.allclose(mean.flatten(1), expected, atol=1e-6)
    assert torch.allclose(std.flatten(1), spread, atol=1e-5)
    # Nothing of what is not seen is read, and every example stands for itself.
    other = torch.where(seen != 0, x, torch.nan)
    assert torch.allclose(law(other, seen)[0], mean)
    assert torch.allclose(law(x[-1:], seen[-1:])[0], mean[-1:], atol=1e-9)


def test_of_one_colour_it_is_the_conditioned_normal_law() -> None:
    x, shape = pictures(80, (1, 4, 5)), (1, 4, 5)
    law = SeparableNormal(shape).double().fit(x)
    variance = law.root.square().sum(0).mean()
    law.ridge.copy_(0.01 * variance)
    some, seen = pictures(6, shape, 1), (torch.rand(6, 1, 4, 5) < 0.4).double()
    mean, _ = law(some, seen)
    theirs = ConditionedNormal.fit(x).ridged(0.01)
    assert torch.allclose(mean, theirs.complete(some, seen)[0], atol=1e-8)


def test_the_covariance_between_colours_and_between_pixels_are_those_it_was_drawn_from() -> None:
    draws = torch.Generator().manual_seed(0)
    colours = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    wide = torch.randn(6, 9, generator=draws, dtype=torch.float64)
    kernel = wide @ wide.T / 9 + 0.1 * torch.eye(6, dtype=torch.float64)
    root = torch.linalg.cholesky(torch.kron(colours, kernel))
    x = (torch.randn(200_000, 12, generator=draws, dtype=torch.float64) @ root.T).view(-1, 2, 2, 3)
    law = SeparableNormal((2, 2, 3)).double().fit(x)
    law.ridge.fill_(0)
    found = torch.kron(law.colours, law.kernel)
    assert torch.allclose(found, torch.kron(colours, kernel), atol=0.02)


def test_draws_have_the_mean_and_the_covariance_of_the_conditional() -> None:
    torch.manual_seed(1)
    shape = (2, 2, 3)
    law, x = fitted(shape), pictures(3, shape, 1)
    seen = (torch.rand(3, 1, 2, 3) < 0.5).double()
    seen[0] = 0
    drawn = law.draw(x, seen, 40_000)
    mean, std = law(x, seen)
    assert torch.allclose(drawn.mean(0), mean, atol=0.03)
    assert torch.allclose(drawn.std(0), std, atol=0.03)
    assert torch.equal(drawn[:, (seen != 0).expand_as(x)], x[(seen != 0).expand_as(x)].expand(40_000, -1))
    free = torch.cov(drawn[:, 0].flatten(1).T)
    assert torch.allclose(free, torch.kron(law.colours, law.kernel), atol=0.1)


def test_of_more_pixels_than_are_read_those_near_what_is_unseen_count(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (1, 6, 6)
    law, x = fitted(shape), pictures(2, shape, 1)
    seen = torch.ones(2, 1, 6, 6, dtype=torch.float64)
    seen[..., :2] = 0  # two columns
    whole, _ = law(x, seen)
    monkeypatch.setattr(separable, "READ", 6 * 36)
    monkeypatch.setattr(separable, "NEAR", 3)
    near = seen.clone()
    near[..., 3:] = 0
    expected, _ = law(x, near)
    found, _ = law(x, seen)
    assert torch.allclose(found[..., :2], expected[..., :2])
    assert torch.equal(found[..., 2:], x[..., 2:])
    assert not torch.allclose(found, whole)


def test_a_root_of_lower_rank_keeps_the_largest_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = pictures(200, (2, 5, 5))
    whole = SeparableNormal((2, 5, 5)).double().fit(x)
    monkeypatch.setattr(separable, "NUMBERS", 10 * 25)
    low = SeparableNormal((2, 5, 5)).double().fit(x)
    assert low.root.shape == (10, 25)
    _, values, axes = torch.linalg.svd(whole.root, full_matrices=False)
    expected = axes[:10].T * values[:10].square() @ axes[:10]
    assert torch.allclose(low.root.T @ low.root, expected)


def test_the_ridge_is_that_of_the_least_error_of_what_is_not_seen() -> None:
    shape = (2, 4, 4)
    law, x = SeparableNormal(shape).double().fit(pictures(30, shape)), pictures(40, shape, 1)
    seen = (torch.rand(40, 1, 4, 4) < 0.4).double()
    law = nearest([law], x, seen)
    unit = law.root.square().sum(0).mean()
    chosen = float(law.ridge / unit)

    def error(ridge: float) -> float:
        law.ridge.copy_(ridge * unit)
        return float((law(x, seen)[0] - x).square().sum())

    assert chosen == pytest.approx(min(RIDGES, key=error))


def test_what_it_is_not_of() -> None:
    with pytest.raises(ValueError, match=r"of 4,096 pixels at most; a picture here has 4,225"):
        SeparableNormal((3, 65, 65))
    with pytest.raises(ValueError, match="at least two pictures; got 1"):
        SeparableNormal((1, 2, 2)).fit(torch.rand(1, 1, 2, 2))


def test_pictures_that_do_not_vary_and_colours_that_say_the_same() -> None:
    flat = SeparableNormal((2, 3, 3)).fit(torch.full((5, 2, 3, 3), 0.25))
    seen = torch.zeros(2, 1, 3, 3)
    seen[0, 0, 0] = 1
    flat = nearest([flat], torch.full((2, 2, 3, 3), 0.25), seen)
    mean, std = flat(torch.full((2, 2, 3, 3), 0.25), seen)
    assert torch.allclose(mean, torch.full_like(mean, 0.25))
    assert (std == 0).all()
    grey = pictures(50, (1, 3, 3)).expand(-1, 3, -1, -1)
    same = SeparableNormal((3, 3, 3)).double().fit(grey)
    same = nearest([same], grey[:4], seen[:1].double().expand(4, -1, -1, -1))
    one = SeparableNormal((1, 3, 3)).double().fit(grey[:, :1])
    one = nearest([one], grey[:4, :1], seen[:1].double().expand(4, -1, -1, -1))
    found, alone = (law(grey[:2, :n], seen.double())[0] for law, n in ((same, 3), (one, 1)))
    assert torch.allclose(found, alone.expand_as(found), atol=1e-6)


def test_what_decoders_read_is_what_it_expects_its_spread_and_m() -> None:
    part, x = NormalExpected((3, 4, 4)), pictures(50, (3, 4, 4)).float()
    m = sparse(x, (torch.rand(50, 1, 4, 4) < 0.4).float())
    part.start({"x": x, "m": m})
    read = part({"m": m})
    mean, std = part.law(m[:, :3], m[:, 3:])
    assert torch.equal(read, torch.cat([mean, std, m], 1))
    assert float(part.law.ridge) > 0
    copy = deepcopy(part)
    copy.law.root.mul_(0.5)
    assert not torch.allclose(copy({"m": m}), read)
    assert torch.equal(part({"m": m}), read)


def test_no_pictures_are_completed_to_none_and_a_graph_says_the_same() -> None:
    law, x = fitted((2, 4, 4)), pictures(5, (2, 4, 4), 1)
    assert law(x[:0], torch.zeros(0, 1, 4, 4))[0].shape == (0, 2, 4, 4)
    seen = (torch.rand(5, 1, 4, 4) < 0.4).double()
    exported = torch.export.export(law, (x, seen)).module()
    for found, expected in zip(exported(x, seen), law(x, seen), strict=True):
        assert torch.allclose(found, expected)


def test_mirror_images_count_where_they_are_like_the_pictures() -> None:
    shape, draws = (1, 3, 4), torch.Generator().manual_seed(0)
    x = pictures(40, shape)
    law = SeparableNormal(shape).double().fit(x, mirrored=True)
    both = torch.cat([x, x.flip(3)])
    assert torch.allclose(
        law.kernel - law.ridge * torch.eye(12), torch.cov(both.flatten(1).T, correction=0) / law.colours
    )
    seen = (torch.rand(120, 1, 3, 4, generator=draws) < 0.5).double()
    either, leaning = pictures(120, shape, 1), pictures(120, shape, 2)
    sided = leaning + 3 * torch.linspace(0, 1, 4)
    for few, rest, expected in ((either[:20], either[20:], True), (sided[:60], sided[60:], False)):
        part = NormalExpected(shape).double()
        part.fit(few, rest, seen[: len(rest)])
        assert part.law.mirrored is expected


def test_of_few_pictures_those_that_chose_count_as_well() -> None:
    x = pictures(40, (2, 3, 3)).float()
    m = sparse(x, (torch.rand(40, 1, 3, 3) < 0.5).float())
    part = NormalExpected((2, 3, 3))
    part.start({"x": x, "m": m})
    mean = torch.cat([x, x.flip(3)]).mean(0) if part.law.mirrored else x.mean(0)
    assert torch.allclose(part.law.mean, mean, atol=1e-5)
