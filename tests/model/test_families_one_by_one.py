"""The family of one value after the other: a density, causal, the same however rows and draws are laid out."""

from __future__ import annotations

import pytest
import torch

from polyvae.model.families.one_by_one import Autoregressive


def family(features: int, context: int = 3) -> Autoregressive:
    """One whose weights matter."""
    torch.manual_seed(0)
    made = Autoregressive(features, context, components=3, widths=(8, 8)).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.7)
    return made


def test_the_density_integrates_to_one_and_draws_follow_it_for_every_context() -> None:
    made, c = family(2), torch.randn(3, 3, dtype=torch.float64)
    side = torch.linspace(-25, 25, 801, dtype=torch.float64)
    z = torch.cartesian_prod(side, side)[:, None].expand(-1, 3, -1)
    torch.manual_seed(1)
    with torch.no_grad():
        mass = made(c).log_prob(z).exp() * (side[1] - side[0]) ** 2
        drawn = made(c).sample((20_000,))
    torch.testing.assert_close(mass.sum(0), torch.ones(3, dtype=torch.float64), rtol=0, atol=5e-3)
    middle = drawn.median(0).values
    for over in ([True, True], [True, False], [False, True]):
        known, found = ((((each > middle) == torch.tensor(over)).all(-1)) for each in (z, drawn))
        torch.testing.assert_close((mass * known).sum(0), found.double().mean(0), rtol=0, atol=0.05)


def test_no_value_depends_on_itself_or_what_follows_and_all_on_the_context() -> None:
    made, c = family(4), torch.randn(1, 3, dtype=torch.float64)
    z = torch.randn(1, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda each: made._raw(each, c)[0].flatten(1).sum(1), z)[:, 0]  # pyright: ignore
    assert jacobian.triu().count_nonzero() == 0
    assert (jacobian.abs()[1:, 0] > 0).all()
    of_c = torch.autograd.functional.jacobian(lambda each: made._raw(z, each)[0].flatten(1).sum(1), c)[:, 0]  # pyright: ignore
    assert (of_c.abs().sum(1) > 0).all()


def test_rows_stay_apart() -> None:
    made, c = family(3), torch.randn(2, 3, dtype=torch.float64)
    with torch.no_grad():
        law = made(c)
        torch.manual_seed(1)
        z = law.sample((4000,))
        assert z.shape == (4000, 2, 3)
        apart = torch.stack([made(c[row : row + 1]).log_prob(z[:, row : row + 1])[:, 0] for row in range(2)], 1)
        torch.testing.assert_close(law.log_prob(z), apart)


def test_it_begins_as_one_mixture_for_all_and_says_its_size() -> None:
    torch.manual_seed(0)
    made = Autoregressive(5, 7)
    assert made.size(5) == 7
    with pytest.raises(ValueError, match="the law is one of 5 values; the latent has 4"):
        made.size(4)
    law = made(torch.zeros(1, 7))
    assert law.sample((500,)).abs().mean() < 5
    assert law.log_prob(torch.zeros(1, 5)).shape == (1,)
