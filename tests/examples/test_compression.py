"""The example of compression: a run is trained where there is none, and its files come back."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import compression


def test_a_case_is_trained_and_its_pictures_come_back_at_the_rate_of_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "vae --data digits --likelihood categorical --network mlp --widths 32 --latent 3 --epochs 3"
    monkeypatch.setattr(compression, "CASES", {"digits": line})
    asked = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--pictures", "40", "--cases"]
    compression.main([*asked, "digits"])
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines())
    assert abs(float(row["net"]) / float(row["bound"]) - 1) < 0.02
    assert int(row["first"]) % 32 == 0
    assert 8 * int(row["file"]) > int(row["net"]) + int(row["first"])
    assert 0 < int(row["webp_strip"]) < int(row["webp"])
    assert int(row["weights"]) > 4 * 64 * 32  # the bytes of the first layer alone
    assert "| digits |" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
