"""The example of VQ-VAE-2 beside VQ-VAE runs as it stands there, and goes on where it was."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from examples import levels


def test_the_comparison_of_levels_trains_both_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"one": ("vq_vae", {"codes": 8, "blocks": 0}), "two": ("vq_vae_2", {"codes": 4, "codes_above": 2})}
    monkeypatch.setattr(levels, "RUNS", small)
    sizes = ["--data", "digits", "--limit", "120", "--epochs", "1", "--prior-epochs", "1", "--layers", "2"]
    places = ["--channels", "4", "--seeds", "0", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    rows = levels.main([*sizes, *places])
    assert [row["bits"] for row in rows] == [4 * 3, 4 * 2 + 1]
    assert all(math.isfinite(row["rate"]) and row["mse"] > 0 for row in rows)
    with (tmp_path / "out" / "digits.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["one", "two"]
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "digits-one-0-reconstructions.png", "digits-one-0-samples.png",
        "digits-two-0-levels.png", "digits-two-0-samples.png"
    }  # fmt: skip
    assert levels.main([*sizes, *places]) == rows
