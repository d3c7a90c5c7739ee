"""The linear baselines of `evaluate` where columns say the same twice: fewer components, or none, and a note."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyvae as pv
from polyvae.cli import main

STREAM = np.random.default_rng(0)
FREE = STREAM.normal(size=(90, 3)).astype(np.float32)


def evaluated(rows: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    np.save(tmp_path / "rows.npy", rows)
    run = str(tmp_path / "run")
    tiny = ("--network", "mlp", "--widths", "4", "--epochs", "1", "--kind", "real", "--run", run)
    assert main(["train", "vae", "--data", str(tmp_path / "rows.npy"), *tiny]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--baselines", "--samples", "2"]) == 0
    assert "plain bound" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert np.isfinite(report["importance_bound"])
    return report


@pytest.mark.parametrize(
    ("rows", "most"),
    [
        (np.concatenate([FREE, FREE[:, :1] * 3, FREE[:, :1] + FREE[:, 1:2]], 1), 2),
        (np.concatenate([FREE, 3 + FREE / 7], 1), 2),
        (FREE[:, :1] * [1, 2, 3] + [0, 0, 1], 0),
        (np.ones((90, 3)), 0),
        (FREE[:, :1], 0),
    ],
    ids=["sums", "rounded copies", "one direction", "constant", "one value"],
)
def test_baselines_take_as_many_components_as_leave_noise(rows, most, tmp_path, capsys) -> None:
    report = evaluated(rows.astype(np.float32), tmp_path, capsys)
    if not most:
        assert report["baselines"] == {}
        assert any("no linear baseline" in note for note in report["notes"])
        return
    found = report["baselines"]
    assert {name: each["latents"]["z"]["dimensions"] for name, each in found.items()} == {"ppca": most, "pca": most}
    assert any(f"the baselines {most}: " in note for note in report["notes"])


def test_fewer_training_examples_than_components_leave_fewer(tmp_path, capsys) -> None:
    report = evaluated(STREAM.normal(size=(12, 30)).astype(np.float32), tmp_path, capsys)
    assert report["baselines"]["ppca"]["latents"]["z"]["dimensions"] < 9


def test_probabilistic_pca_by_itself_refuses_what_leaves_no_noise() -> None:
    data = pv.data.wrap(np.concatenate([FREE, FREE], 1), kind="real")
    with pytest.raises(ValueError, match="latent is too large: 5 components explain these data exactly"):
        pv.fit(pv.recipes.ppca(data.spec), data, progress=False)
    assert pv.fit(pv.recipes.ppca(data.spec, latent=2), data, progress=False)
