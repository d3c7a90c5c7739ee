"""`polyvae impute`: a table with gaps comes back filled, and `train incomplete` takes one as it is."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import polyvae as pv
from helpers.commands import Say
from polyvae.cli import main
from polyvae.data.exchange.filled_files import sheet_of

pytestmark = pytest.mark.filterwarnings("ignore::polyvae.data.errors.DataNote")  # of the index
SMALL = ["--network", "mlp", "--widths", "8", "--latent", "2", "--epochs", "1"]


def people(count: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "": np.arange(count) + 100,
            "height": [f"{each:.2f}0" for each in rng.normal(170, 10, count)],
            "age": rng.integers(20, 60, count).astype(str),
            "smoker": np.where(rng.random(count) < 0.5, "TRUE", "FALSE"),
            "city": rng.choice(["Riga", "Oslo, N"], count),
        }
    ).astype(object)
    return pd.concat([frame[[""]], frame.drop(columns="").mask(rng.random((count, 4)) < 0.2, "")], axis=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.csv, which has gaps, and a run of incomplete on it, trained at the command line; told.txt
    holds what that printed."""
    folder = tmp_path_factory.mktemp("impute")
    people().to_csv(folder / "people.csv", index=False)
    asked = ["--data", str(folder / "people.csv"), "--run", str(folder / "run"), "--samples", "3", *SMALL]
    with (folder / "told.txt").open("w", encoding="utf-8") as told, contextlib.redirect_stdout(told):
        assert main(["train", "incomplete", *asked]) == 0
    return folder


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_recipe_that_reads_what_is_there_takes_gaps_and_others_say_what_is_missing(place: Path, say: Say) -> None:
    assert pv.Run.load(place / "run").description["data"]["call"]["gaps"] is True
    code, _, error = say("train", "vae", "--data", place / "people.csv", "--run", place / "other", *SMALL)
    assert code == 1
    assert "expected a value in every cell" in error
    assert "missing in column 'height'" in error
    assert not (place / "other").exists()


def test_gaps_are_filled_and_all_else_stays_as_it_stands(place: Path, say: Say) -> None:
    out = place / "filled.csv"
    code, printed, _ = say(
        "impute", place / "run", place / "people.csv", "--out", out, "--draws", 1, "--samples", 20, "--json"
    )
    assert code == 0
    told = json.loads(printed)
    before = rows(place / "people.csv")
    assert sum(told["filled"].values()) == sum(cell == "" for row in before[1:] for cell in row)
    assert told["files"] == [str(out), str(place / "filled-1.csv")]
    for path in told["files"]:
        after = rows(Path(path))
        assert [len(row) for row in after] == [len(row) for row in before]
        for one, other in zip(before, after, strict=True):
            assert all(old in ("", new) for old, new in zip(one, other, strict=True))
        assert {row[3] for row in after[1:]} == {"TRUE", "FALSE"}
        assert {row[4] for row in after[1:]} == {"Riga", "Oslo, N"}
        assert all(row[2].isdigit() and 100 < float(row[1]) < 240 for row in after[1:])


def test_a_training_on_a_file_with_gaps_ends_with_the_command_that_fills_them(place: Path) -> None:
    run = place / "run"
    told = (place / "told.txt").read_text(encoding="utf-8").splitlines()
    assert told[-2:] == [f"next: polyvae evaluate {run}", f"next: polyvae impute {run} {place / 'people.csv'}"]


def test_it_is_said_on_how_few_draws_the_worst_tenth_of_the_rows_rests(place: Path, say: Say) -> None:
    asked = ("impute", place / "run", place / "people.csv", "--out", place / "few.csv", "--samples", 40)
    _, printed, _ = say(*asked)
    told = json.loads(say(*asked, "--json")[1])
    filled = pv.Run.load(place / "run").impute(sheet_of(place / "people.csv"), samples=40, seed=0)
    effective = np.asarray(filled.effective)[(people() == "").any(axis=1)]
    assert told["effective_tenth"] == pytest.approx(np.quantile(effective, 0.1), rel=1e-4)
    words = f"{told['effective']:.0f} of 40 (median), a tenth of the rows below {told['effective_tenth']:.0f}"
    assert words in printed


def test_a_row_and_another_order_of_columns_will_do(place: Path, say: Say) -> None:
    table = place / "one.csv"
    table.write_text("city;name;smoker;height;age\nRiga;a, b;;170.50;\n", encoding="utf-8")
    assert say("impute", place / "run", table, "--samples", 5)[0] == 0
    (row,) = [each.split(";") for each in (place / "one-filled.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert [row[n] for n in (0, 1, 3)] == ["Riga", "a, b", "170.50"]
    assert row[2] in ("True", "False")
    assert row[4].isdigit()


def test_what_it_cannot_do_is_said(place: Path, say: Say, trained: Path) -> None:
    table = place / "people.csv"
    for line, code, words in (
        ((place / "run",), 2, "required: FILE"),
        ((place / "run", place / "none.csv"), 1, "no such file"),
        ((place / "run", "x.npy"), 2, "FILE is a table"),
        ((place / "run", table, "--out", table), 2, "is the table itself"),
        ((place / "run", table, "--out", "filled.png"), 2, "--out is a table"),
        ((trained, table), 1, "impute with a run of incomplete"),
    ):
        found, _, error = say("impute", *line)
        assert (found, words in error) == (code, True), error
    code, _, error = say("complete", place / "run")
    assert code == 1
    assert "polyvae impute" in error
