"""The example of the wake tells pressure from velocity by every method, and keeps what it prints."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import polyvae as pv

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, imported as `python examples/wake_modalities.py` does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return __import__("wake_modalities")


def wave(path: Path, rows: int = 60) -> Path:
    """Fields of one phase, u, v and cp, at times in no order, so that parts may be cut at random."""
    phase = 2 * np.pi * np.random.default_rng(0).random(rows)
    y, x = np.mgrid[:6, :8] / 8
    made = {
        name: sum(np.cos(k * (phase[:, None, None] - x * a + y * b)) / k**3 for k in (1, 2, 3)).astype(np.float32)
        for name, a, b in (("u", 3, 1), ("v", 2, -1), ("cp", 1, 2))
    }
    np.savez(path, **made)
    return path


def test_every_method_is_judged_in_one_table(example: ModuleType, tmp_path: Path) -> None:
    line = ["--data", str(wave(tmp_path / "wave.npz")), "--seeds", "0", "--latents", "4", "6", "--epochs", "2"]
    rows = example.main([*line, "--plain-epochs", "1", "--draws", "20", "--out", str(tmp_path / "out")])
    with (tmp_path / "out" / "results.csv").open() as file:
        written = {row["method"]: row for row in csv.DictReader(file)}
    assert list(written) == [row["method"] for row in rows] == [*example.CLOSED, *example.MODELS]
    error = {name: float(row["relative_error"]) for name, row in written.items()}
    assert error["ridge"] < 1e-3
    assert error["mmvae of modes"] < 1e-2 < error["mvae, as it comes"]
    assert written["mmvae of modes"]["chosen"] in ("4 dimensions", "6 dimensions")
    told = (tmp_path / "out" / "README.md").read_text()
    assert all(f"| {name} |" in told for name in written)


def test_what_is_chosen_is_the_best_of_the_validation_part(example: ModuleType, tmp_path: Path) -> None:
    data = pv.data.load(str(wave(tmp_path / "wave.npz")), modalities="flow=u+v,pressure=cp")
    wake = example.Wake.of(data)
    truth = {part: wake.rows[part]["pressure"] for part in ("validation", "test")}
    off = {"validation": truth["validation"] + 1.0, "test": truth["test"]}
    noisy = {
        part: values + 0.1 * np.sin(np.arange(values.size)).reshape(values.shape) for part, values in truth.items()
    }
    found = example.chosen(wake, [("off", off), ("noisy", noisy)])
    assert found.chosen == "noisy"
    np.testing.assert_allclose(found.mean.numpy().reshape(noisy["test"].shape), noisy["test"])
