"""`polyvae classify`: a table by the names of the data, and what is wrong with a line, told at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import polyvae as pv
from helpers.commands import Say

SMALL = ["--limit", "200", "--latent", "2", "--network", "mlp", "--widths", "8", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in a file, with labels by name."""
    place = tmp_path_factory.mktemp("classify")
    rows = [f"{n % 7},{n % 3 + n % 5 / 10},{['cat', 'dog', 'eel'][n % 3]}" for n in range(150)]
    (place / "pets.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    (place / "bare.csv").write_text("\n".join(["a,b", *(row.rpartition(",")[0] for row in rows[:20])]) + "\n")
    return place


def test_classes_have_the_names_of_the_data_and_their_measures(folder: Path, say: Say) -> None:
    run = folder / "run"
    line = ["--data", folder / "pets.csv", "--label", "label", "--labels", "30", "--features", "8", *SMALL[2:]]
    assert say("train", "m2", *line, "--run", run)[0] == 0
    code, out, err = say("classify", run, "--json")
    told = json.loads(out)
    assert (code, told["temperature"]) == (0, None), err
    assert 0 <= told["raw"]["error"] <= 1
    assert [Path(file).name for file in told["files"]] == ["classes.csv", "classes-reliability.png"]
    with (run / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == told["examples"]
    assert list(rows[0]) == ["example", "label", "class", "probability", "cat", "dog", "eel"]
    wrong = sum(row["label"] != row["class"] for row in rows) / len(rows)
    assert wrong == pytest.approx(told["raw"]["error"])
    assert sum(float(rows[0][name]) for name in ("cat", "dog", "eel")) == pytest.approx(1, abs=1e-5)
    code, out, err = say("classify", run, "--out", folder / "pets.csv")
    assert (code, "pets.csv is there already, and this command did not write it" in err) == (2, True), err
    for _ in range(2):  # its own table is replaced
        code, out, err = say("classify", run, "--data", folder / "bare.csv", "--out", folder / "found.csv")
        assert code == 0, err
    with (folder / "found.csv").open() as file:
        assert next(csv.reader(file)) == ["example", "class", "probability", "cat", "dog", "eel"]


def test_a_prior_of_labels_makes_a_classifier_of_a_run(tmp_path: Path, say: Say) -> None:
    run = tmp_path / "run"
    assert say("train", "vae", "--data", "digits", "--labels", "20", *SMALL, "--run", run)[0] == 0
    assert say("classify", run)[::2] == (
        2,
        f"polyvae: {run} has no classes: train m2, vade or gmvae, or fit a prior with them, `polyvae fit-prior {run} "
        "labelled`\n",
    )
    line = ["--top", "2", "--widths", "8", "--features", "8", "--epochs", "1", "--examples", "20", "--samples", "2"]
    code, out, err = say("fit-prior", run, "labelled", *line, "--frechet", "0", "--json")
    assert code == 0, err
    assert json.loads(out)["kind"] == "labelled"
    code, out, err = say("classify", run, "--json")
    assert code == 0, err
    error = json.loads(out)["raw"]["error"]
    assert say("sample", run, "--number", "20")[0] == 0
    code, out, err = say("evaluate", run, "--samples", "2", "--json")
    assert json.loads(out)["classification"]["error"] == pytest.approx(error)


@pytest.mark.filterwarnings("ignore::polyvae.data.errors.DataNote")
def test_a_run_on_labels_that_are_missing_in_part_is_opened_again(folder: Path, say: Say) -> None:
    rows = (folder / "pets.csv").read_text().splitlines()
    partly = [row if n % 4 == 0 else row.rpartition(",")[0] + "," for n, row in enumerate(rows[1:])]
    (folder / "partly.csv").write_text("\n".join(["a,b,animal", *partly]) + "\n")
    run, line = folder / "partly", ["--data", folder / "partly.csv", "--features", "8", *SMALL[2:]]
    code, _, err = say("train", "m2", *line, "--run", run)
    assert (code, err.count("m2"), "--label animal" in err) == (2, 1, True), err
    code, out, err = say("train", "m2", *line, "--label", "animal", "--run", run)
    assert (code, "polyvae impute" in out) == (0, False), err
    assert pv.Run.load(run).description["data"]["call"]["gaps"] is True
    for command in (["evaluate", run, "--samples", "2"], ["classify", run], ["classify", run, "--split", "train"]):
        code, _, err = say(*command)
        assert code == 0, err
    code, _, err = say("train", "--resume", "--run", run, "--epochs", "2")
    assert code == 0, err


def test_only_what_x_lacks_is_refused_where_labels_may_be_missing(folder: Path, say: Say) -> None:
    rows = [f"{n % 7},{n % 3},{'' if n % 5 == 0 else 'uv'[n % 2]},{'' if n % 4 else ['cat', 'dog'][n % 3 % 2]}"
            for n in range(120)]  # fmt: skip
    (folder / "both.csv").write_text("\n".join(["a,b,town,class", *rows]) + "\n")
    line = ["train", "m2", "--data", folder / "both.csv", "--features", "8", *SMALL[2:], "--run", folder / "both"]
    code, _, err = say(*line)
    assert (code, "both.csv: expected" in err, "24 missing in column 'town';" in err, "column 'class'" in err) == (
        1,
        True,
        True,
        False,
    ), err
    assert "(--beside town)" in err
    code, out, err = say(*line, "--beside", "town")
    assert (code, "polyvae impute" in out) == (0, False), err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--out", "classes.png"], "--out is a table, such as classes.csv; got classes.png"),
        (["nothing"], "one argument too many"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(line: list[str], words: str, tmp_path: Path, say: Say) -> None:
    code, _, err = say("classify", tmp_path / "none", *line)
    assert code in (1, 2)
    assert words in err
    assert "Traceback" not in err
