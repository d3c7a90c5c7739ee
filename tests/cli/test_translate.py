"""`polyvae translate`: what is made of modalities, how right it is, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import polyvae as pv
from polyvae.cli import main
from polyvae.cli.runs import opened
from polyvae.data.cuts import subset


def test_modalities_are_made_of_the_one_that_is_named_shown_and_scored(
    modal_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    npz = modal_run / "made.npz"
    line = ["translate", str(modal_run), "--from", "near", "--number", "3", "--draws", "7", "--npz", str(npz), "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [str(modal_run / "figures" / "translations-near.png"), str(npz)]
    assert all(Path(file).exists() for file in told["files"])
    assert [(each["target"], each["given"]) for each in told["scores"]] == [
        ("far", ["near"]), ("far", []), ("size", ["near"]), ("size", [])
    ]  # fmt: skip
    assert all(each["unseen"]["mse"] > 0 for each in told["scores"])
    held = np.load(npz)
    assert held["near"].shape == (3, 1, 6, 6)
    assert held["far/mean"].shape == held["far/std"].shape == (3, 1, 6, 6)
    assert held["size/samples"].shape == (7, 3, 2)
    run, part = pv.Run.load(modal_run), opened(modal_run, several=True).data.test
    order = subset(part, 3, 0)
    found = run.translate({"near": order.tensors["near"]}, ["far", "size"], 7)
    np.testing.assert_allclose(held["size/mean"], found["size"].mean, rtol=1e-5)


def test_several_may_be_given_and_the_table_says_how_right_it_is(
    modal_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", str(modal_run), "--from", "size,near", "--to", "far", "--number", "2"]) == 0
    out = capsys.readouterr().out
    assert "squared error" in out
    assert "size, near" in out
    assert "nothing" in out
    assert out.strip().splitlines()[-1] == str(modal_run / "figures" / "translations-size-near.png")
    assert main(["translate", str(modal_run), "--to", "far", "--score", "0"]) == 0
    assert capsys.readouterr().out.strip() == str(modal_run / "figures" / "translations-near-to-far.png")


def test_what_is_no_picture_is_told_in_a_table_beside_what_is_real(modal_run: Path, tmp_path: Path, capsys) -> None:
    line = ["translate", str(modal_run), "--to", "size", "--score", "0", "--number", "2", "--show-draws", "2"]
    assert main([*line, "--npz", str(tmp_path / "a.npz"), "--draws", "7"]) == 0
    out = capsys.readouterr().out
    assert "size of near" in out
    assert all(heading in out for heading in ("column", "real", "mean", "draw 1", "draw 2"))
    assert "draw 3" not in out
    part, held = subset(opened(modal_run, several=True).data.test, 2, 0), np.load(tmp_path / "a.npz")
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in out.splitlines() if row.startswith("│")]
    shown = (part.tensors["size"].numpy(), held["size/mean"], *held["size/samples"][:2])
    wanted = [[f"{each[row, place]:.3g}" for each in shown] for row in range(2) for place in range(2)]
    assert [row[2:] for row in rows] == wanted
    assert [row[:2] for row in rows] == [["1", "0"], ["", "1"], ["2", "0"], ["", "1"]]


def test_long_labels_are_cut_and_not_the_columns_behind_them(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = "a label of very many letters, " * 3
    rows = [f'{n},"{long if n % 3 else "[red]x[/red]"}",{n / 7},' + ",".join("123456") for n in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,serum_cholesterol_in_mg,d,e,f,g,h,i", *rows]))
    line = [
        "train",
        "mvtcae",
        "--data",
        str(tmp_path / "t.csv"),
        "--modalities",
        "first=a,rest=b+serum_cholesterol_in_mg+d+e+f+g+h+i",
    ]
    assert main([*line, "--epochs", "1", "--run", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["translate", str(tmp_path / "run"), "--score", "0", "--number", "30"]) == 0
    out = capsys.readouterr().out
    assert "a label of very…" in out
    assert "[red]x[/red]" in out
    assert "serum_cholester…" in out
    assert "6 of 8 columns; --npz keeps all" in " ".join(out.split())
    if "The first 20 of" in " ".join(out.split()):
        assert out.count("│ 20") >= 1
    assert max(map(len, out.splitlines()[:-1])) <= 80


def test_what_is_no_picture_is_kept_and_not_shown(modal_run: Path, tmp_path: Path, capsys) -> None:
    out = ["--out", str(tmp_path / "a.png")]
    line = ["translate", str(modal_run), "--from", "size", "--to", "near", "--score", "0"]
    assert main([*line, "--npz", str(tmp_path / "a.npz"), *out]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.png"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--from", "neer"], "--from is one of near, far, size; got 'neer'; did you mean near?"),
        (["--from", "near", "--to", "near"], "--to is one of far, size; got 'near'"),
        (["--from", "near,far,size"], "--from names all of near, far, size"),
        (["--from", "near", "--to", "size"], ""),
    ],
)
def test_what_is_no_modality_is_refused_by_name(modal_run: Path, line: list[str], said: str, capsys) -> None:
    code = main(["translate", str(modal_run), *line])
    assert code == (2 if said else 0)
    assert said in capsys.readouterr().err


def test_rows_that_lack_what_is_given_are_neither_shown_nor_kept_nor_counted(tmp_path: Path, capsys) -> None:
    stream = np.random.default_rng(0)
    near = stream.integers(0, 255, (60, 6, 6)).astype(np.float32) / 255
    near[::3] = np.nan
    np.savez(tmp_path / "gaps.npz", near=near, size=stream.normal(size=(60, 2)).astype(np.float32))
    run, npz = tmp_path / "run", tmp_path / "made.npz"
    line = ["train", "mvae", "--data", str(tmp_path / "gaps.npz"), "--modalities", "near,size", "--epochs", "1"]
    assert main([*line, "--run", str(run)]) == 0
    capsys.readouterr()
    split = opened(run, several=True).data.train
    there = int(split.tensors["near_present"].sum())
    asked = [
        "translate",
        str(run),
        "--from",
        "near",
        "--split",
        "train",
        "--number",
        "100",
        "--npz",
        str(npz),
        "--json",
    ]
    assert main(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["examples"] == told["scores"][0]["examples"] == len(np.load(npz)["near"]) == there < len(split)
    found = pv.Run.load(run).translate({"near": np.load(npz)["near"]}, "size", 100)
    np.testing.assert_allclose(np.load(npz)["size/mean"], found.mean, rtol=1e-5)
