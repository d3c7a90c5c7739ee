"""The table of adversarial recipes, on digits for an epoch."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import adversarial


def test_a_table_has_distances_beside_that_of_real_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "--data",
        "digits",
        "--limit",
        "200",
        "--network",
        "mlp",
        "--widths",
        "16",
        "--critic",
        "4",
        "--latent",
        "2",
    ]
    line += ["--epochs", "1", "--prior-epochs", "1", "--steps", "5", "--out", str(tmp_path)]
    found = adversarial.main(line)
    shown = capsys.readouterr().out
    assert [*found["rows"]] == ["vae", "two-stage", "vae_gan"]
    assert all(row["distance"] > 0 and row["mse"] > 0 for row in found["rows"].values())
    assert found["rows"]["vae"]["spread"] is None
    assert found["rows"]["vae_gan"]["spread"] > 0
    assert "| vae_gan |" in shown
    assert "real beside real" in shown
    assert (tmp_path / "pictures.png").exists()
    assert (tmp_path / "table.json").exists()
