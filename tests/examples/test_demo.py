"""The demo that `make demo` runs, on scikit-learn's digits and one epoch."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from polyvae import data

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture
def demo() -> Callable[[list[str]], None]:
    return runpy.run_path(str(DEMO))["main"]


def test_the_demo_says_where_its_figures_and_its_evaluation_lie_and_can_be_run_again(
    demo: Callable[[list[str]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", "digits", "--epochs", "1", "--out", str(tmp_path)]
    demo(arguments)
    said = capsys.readouterr().out
    folder = tmp_path / "digits"
    report = json.loads((folder / "evaluation.json").read_text())
    assert report["sigma_vae"]["examples"] == report["ppca"]["examples"] == 180
    assert f"{report['ppca']['bound']:.1f}" in said
    assert f"Evaluation: {folder / 'evaluation.json'}" in said
    assert f"Figures:    {folder / 'figures'}" in said
    assert {"curves.png", "samples.png"} <= {path.name for path in (folder / "figures").iterdir()}
    demo(arguments)  # nothing is left to train
    assert json.loads((folder / "evaluation.json").read_text()) == report


def test_without_mnist_the_demo_takes_the_digits_and_says_so(
    demo: Callable[[list[str]], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = data.load

    @wraps(load)
    def offline(name: str, *arguments: Any, **options: Any) -> data.Data:
        if name == "mnist":
            raise data.DataError("train-images-idx3-ubyte.gz", "a network", "none")
        return load(name, *arguments, **options)

    monkeypatch.setattr(data, "load", offline)
    demo(["--epochs", "1", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "train-images-idx3-ubyte.gz" in said
    assert "Taking scikit-learn's digits instead." in said
    assert (tmp_path / "digits" / "evaluation.json").exists()
