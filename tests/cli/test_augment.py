"""`polyvae augment`, and what commands say of conditions: files, folders, names, and mistakes told in a line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import polyvae as pv
from polyvae.cli import main

SMALL = ["--network", "mlp", "--widths", "8", "--latent", "2", "--epochs", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("augment"), np.random.default_rng(0)
    y = np.tile(["cat", "dog"], 40)
    np.savez(folder / "animals.npz", x=random.random((80, 6, 6)), y=y, angle=random.random((80, 2)))
    rows = "".join(
        f"{a:.3f},{b:.3f},{kind},{label}\n"
        for (a, b), kind, label in zip(random.random((80, 2)), "uv" * 40, y, strict=True)
    )
    (folder / "table.csv").write_text("a,b,kind,label\n" + rows)
    animals, table = (["--data", str(folder / name)] for name in ("animals.npz", "table.csv"))
    told = ["--condition", "y,angle", "--dropped", "0.2", "--run", str(folder / "run")]
    assert main(["train", "cvae", *animals, *told, *SMALL]) == 0
    beside = ["--beside", "kind", "--condition", "y,kind", "--run", str(folder / "table")]
    assert main(["train", "cvae", *table, *beside, *SMALL]) == 0
    return folder


def test_an_archive_holds_so_many_of_each_class_by_its_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "more.npz"
    line = ["augment", str(place / "run"), "--per-class", "5", "--how", "posterior", "--out", str(out), "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"] == {"cat": 5, "dog": 5}
    found = np.load(out)
    assert found["x"].shape == (10, 1, 6, 6)
    assert found["y"].tolist() == ["cat"] * 5 + ["dog"] * 5
    again = pv.data.load(out)
    assert again.spec.labels == ("cat", "dog")
    assert main(line) == 0
    assert np.array_equal(np.load(out)["x"], found["x"])


def test_a_folder_of_pictures_is_read_again_and_never_overwritten(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "pictures"
    assert main(["augment", str(place / "run"), "--per-class", "6", "--out", str(out)]) == 0
    assert sorted(each.name for each in out.iterdir()) == ["cat", "dog"]
    assert len(pv.data.load(out).train) > 0
    assert main(["augment", str(place / "run"), "--per-class", "6", "--out", str(out)]) == 2
    assert "is there already; name a new folder" in capsys.readouterr().err


def test_a_table_is_written_with_its_columns_and_labels(place: Path) -> None:
    out = place / "more.csv"
    assert main(["augment", str(place / "table"), "--per-class", "4", "--out", str(out)]) == 0
    head, *rows = out.read_text().splitlines()
    assert head == "a,b,label"
    assert [row.split(",")[2] for row in rows] == ["cat"] * 4 + ["dog"] * 4


def test_bounds_without_a_condition_and_samples_with_guidance(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(place / "run")
    bounds = {}
    for hidden in ([], ["--without", "angle"], ["--without", "y,angle"]):
        assert main(["evaluate", run, "--samples", "3", "--json", *hidden]) == 0
        report = json.loads(capsys.readouterr().out)
        bounds[tuple(report["given"])] = report["bound"]
    assert set(bounds) == {("angle", "y"), ("y",), ()}
    assert len(set(bounds.values())) == 3
    assert main(["sample", run, "--guidance", "2", "--number", "4", "--out", str(place / "samples.png")]) == 0
    assert (place / "samples.png").exists()


MISTAKES = {
    "no such condition": (
        ["evaluate", "run", "--without", "size"],
        2,
        "--without names conditions .* of this one: angle, y; got 'size'",
    ),
    "pictures in a table": (["augment", "run", "--out", "more.csv"], 2, "a .csv holds a table, and these are pictures"),
    "a table in a folder": (["augment", "table", "--out", "folder"], 2, "--out is an .npz or a .csv"),
    "another kind": (
        ["augment", "run", "--out", "mine.npy"],
        2,
        "--out is an .npz, a .csv or a new folder; got mine.npy",
    ),
    "none": (["augment", "run", "--per-class", "0"], 2, "expected a whole number of at least 1"),
    "a way": (["augment", "run", "--how", "priors"], 2, "expected one of prior, posterior, interpolation"),
    "a prior has no temperature": (
        ["augment", "run", "--temperature", "2"],
        2,
        "--temperature moves draws about a real",
    ),
    "guidance": (
        ["sample", "table", "--guidance", "2"],
        2,
        "--guidance = 2 needs a model that has learned to do without",
    ),
}


@pytest.mark.parametrize(("line", "code", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_a_line(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert main(line) == code
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(words, told), told
    assert sorted(place.rglob("*")) == before
