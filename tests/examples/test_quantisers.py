"""The table of quantisers, on a few small pictures: rows kept, and taken up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import quantisers


def test_a_table_has_a_row_for_each_quantiser_and_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", "digits", "--limit", "60", "--tested", "20", "--epochs", "1", "--samples", "2"]
    line += ["--out", str(tmp_path), "--only", "residual, 2", "gumbel"]
    first = quantisers.main(line)
    shown = capsys.readouterr().out.splitlines()
    assert [row.split("|")[1].strip() for row in shown] == ["quantiser", "---", "residual, 2", "gumbel"]
    residual, gumbel = first.values()
    assert residual["places"] == 2 * gumbel["places"]
    assert residual["rate"] == pytest.approx(residual["capacity"])
    assert gumbel["rate"] < gumbel["capacity"]
    kept = (tmp_path / "gumbel" / "row.json").stat().st_mtime_ns
    assert quantisers.main(line) == first
    assert (tmp_path / "gumbel" / "row.json").stat().st_mtime_ns == kept
