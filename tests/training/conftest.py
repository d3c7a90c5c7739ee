"""Runs that many tests ask, trained once a file."""

from __future__ import annotations

import pytest
import torch

import polyvae as pv
from helpers.runs import fitted, pictures
from polyvae.data import wrap


@pytest.fixture(scope="module")
def run() -> pv.Run:
    """Of pictures."""
    return fitted(pictures())


@pytest.fixture(scope="module")
def tables() -> pv.Run:
    """Of a table of five columns."""
    table = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    return fitted(wrap(table, validation=12))
