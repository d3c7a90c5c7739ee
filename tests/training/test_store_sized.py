"""Parts that hold as much as they were fitted to, loaded into ones that hold less, more or nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers.runs import same
from polyvae.model.sized import Sized
from polyvae.training.store import RunError, load_tensors, unique_tensors


class Rows(Sized):
    """A part that holds as many rows as it was shown."""

    def __init__(self, count: int = 0) -> None:
        super().__init__()
        self.register_buffer("rows", torch.arange(2.0 * count).view(count, 2))
        self.register_buffer("aside", torch.ones(count), persistent=False)


def test_parts_take_the_size_of_what_is_loaded_into_them() -> None:
    full = nn.Sequential(Rows(3), nn.Linear(1, 1), nn.ModuleDict({"inner": Rows(2)}))
    for load in (
        lambda made: load_tensors(made, unique_tensors(full), "here"),
        lambda made: made.load_state_dict(full.state_dict()),
    ):
        empty = nn.Sequential(Rows(), nn.Linear(1, 1), nn.ModuleDict({"inner": Rows(5)}))
        load(empty)
        assert same(empty.state_dict(), full.state_dict())
        assert len(empty[0].get_buffer("aside")) == 0
    alone = Rows()
    load_tensors(alone, unique_tensors(full[0]), "here")
    assert torch.equal(alone.get_buffer("rows"), full[0].get_buffer("rows"))


def test_no_other_part_takes_another_size() -> None:
    with pytest.raises(RunError, match=r"here: 1\.weight has shape \[2, 1\], the model needs \[1, 1\]"):
        load_tensors(
            nn.Sequential(Rows(), nn.Linear(1, 1)), unique_tensors(nn.Sequential(Rows(3), nn.Linear(1, 2))), "here"
        )
