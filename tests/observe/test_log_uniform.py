"""As many places seen from one to ten as from ten to a hundred."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.observe.counts import LogUniform
from polyvae.observe.masks import SparsePixels


def test_numbers_come_as_often_as_the_law_says() -> None:
    torch.manual_seed(0)
    found = LogUniform().draw(100_000, 20, torch.device("cpu"))
    shares = found.bincount(minlength=21) / len(found)
    assert shares[0] == 0
    for number in range(1, 21):
        assert float(shares[number]) == pytest.approx(log(1 + 1 / number) / log(21), abs=0.005)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 900), st.integers(1, 30))
def test_every_number_is_within_what_there_is(places: int, batch: int) -> None:
    found = LogUniform().draw(batch, places, torch.device("cpu"))
    assert found.dtype == torch.int64
    assert 1 <= int(found.min()) <= int(found.max()) <= LogUniform().most(places) == places


def test_masks_show_so_many_pixels() -> None:
    torch.manual_seed(0)
    mask = SparsePixels(count=LogUniform()).mask(torch.zeros(200, 1, 5, 5))
    seen = mask.flatten(1).sum(1)
    assert seen.min() == 1
    assert seen.max() == 25
