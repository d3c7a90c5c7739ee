"""The table of few labels and clusters, on a few small pictures: runs kept, and taken up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import labels


@pytest.fixture(autouse=True)
def a_network_of_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "STEPS", 5)


def test_every_method_has_a_row_and_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--data", "digits", "--limit", "300", "--labels", "20", "--epochs", "2", "--width", "8", "--samples", "2"]
    line += ["--out", str(tmp_path), "--seeds", "0"]
    first = labels.main(line)
    shown = capsys.readouterr().out.splitlines()
    named = [f"`{name}`" for name in (*labels.METHODS, *labels.RIVALS)]
    assert [row.split("|")[1].strip() for row in shown[2:]] == named
    clusters = {"vade", "gmvae", "k-means", "normals on principal components"}
    assert {row["method"] for row in first if row["error"] == ""} == clusters
    assert all(0 < float(row["error"] or row["accuracy"]) < 1 for row in first)
    kept = (tmp_path / "runs.csv").stat().st_mtime_ns
    assert labels.main(line) == first
    assert (tmp_path / "runs.csv").stat().st_mtime_ns == kept
