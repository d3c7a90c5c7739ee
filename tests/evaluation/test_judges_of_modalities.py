"""What judges of modalities learn from: each real value once, also where it stands in rows that lack others."""

from __future__ import annotations

import torch

from polyvae.data.memory_maps import Rows
from polyvae.data.split import Split
from polyvae.evaluation.modalities.judges import real


def test_a_judge_learns_from_each_real_value_once_where_rows_lack_modalities() -> None:
    pool = torch.arange(100.0)[:, None]
    index = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    there = torch.tensor([True, True, True, False, True, True, False, False])
    rows = Rows({"a": pool, "y": index.clone(), "a_present": there}, {"a": index})
    found = real(Split(rows), "a")
    assert found.tensors["x"][:, 0].tolist() == [0, 1, 2]
    assert found.tensors["y"].tolist() == [0, 1, 2]
