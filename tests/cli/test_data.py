"""What the commands say of a user's own data: where they are first read, and not again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyvae.cli import main

TINY = ("--network", "mlp", "--widths", "4", "--latent", "1", "--epochs", "1")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Runs a command in a folder of its own, with notes as a user sees them: what it writes to standard error."""
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 0
        return capsys.readouterr().err

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield run


def test_notes_of_the_reader_are_said_by_train_and_not_again(say: Callable) -> None:
    stream = np.random.default_rng(0)
    frame = pd.DataFrame({"a": stream.normal(size=60), "b": stream.normal(size=60)})
    frame.loc[[3, 8], "a"] = np.nan
    frame.to_csv("table.csv")  # with an index, which is noted too
    first = say("train", "vae", "--data", "table.csv", "--skip-bad", *TINY, "--run", "run")
    assert "2 of 60 rows lack a value, and are left out" in first
    assert "is taken for an index" in first
    assert "cut at random" in first
    for command in (["evaluate", "run", "--samples", "2"], ["reconstruct", "run"], ["sample", "run"]):
        assert "note" not in say(*command)


def test_a_series_that_is_cut_at_random_is_said_to_be(say: Callable) -> None:
    np.save("waves.npy", np.sin(np.arange(90.0)[:, None] / 9 + np.arange(5)))
    said = say("train", "vae", "--data", "waves.npy", *TINY)
    assert "cut at random" in said
    assert "consecutive examples are alike" in said
    assert "--blocks 15" in said
    said = say("train", "vae", "--data", "waves.npy", "--blocks", "15", *TINY)
    assert "cut in 15 blocks of consecutive examples" in said
    assert "alike" not in said


def test_a_text_column_that_may_be_a_label_is_hinted_at_where_none_was_given(say: Callable) -> None:
    stream = np.random.default_rng(0)
    frame = pd.DataFrame({"a": stream.normal(size=60), "kind": ["x", "y", "z"] * 20})
    frame.to_csv("table.csv", index=False)
    hint = "kind is modelled like other columns; if one is a label, name it: --label kind\n"
    assert hint in say("train", "vae", "--data", "table.csv", *TINY)
    for label in ("kind", ""):
        assert "--label" not in say("train", "vae", "--data", "table.csv", "--label", label, *TINY)
    frame.assign(y=[0, 1] * 30).to_csv("labelled.csv", index=False)
    assert "--label" not in say("train", "vae", "--data", "labelled.csv", *TINY)
