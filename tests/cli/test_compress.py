"""`polyvae compress` and `decompress`: the same files, few bytes, and a line for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import polyvae as pv
from helpers.commands import TINY, Say
from polyvae.cli import main
from polyvae.compression import decompress
from polyvae.compression.archive import Archive, read_archive
from polyvae.compression.chain import Chain
from polyvae.data import load

OPTIONS = [*TINY, "--epochs", "1", "--likelihood", "categorical"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on digits and some of its pictures, in two folders and an array."""
    folder = tmp_path_factory.mktemp("compress")
    assert main(["train", "vae", *OPTIONS, "--run", str(folder / "run")]) == 0
    x = (load("digits").test.tensors["x"][:12].double() / 255 * 16).round().long()
    x = x if int(x.max()) <= 16 else x * 0
    pixels = (x * 255 / 16).round().to(torch.uint8).numpy()
    for number, each in enumerate(pixels[:8]):
        file = folder / "digits" / ("even" if number % 2 == 0 else "odd") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each[0]).save(file)
    np.save(folder / "digits" / "rest.npy", (x[8:] / 16).float().numpy())
    return folder


@pytest.fixture
def packed(place: Path, tmp_path: Path, say: Say) -> Path:
    file = tmp_path / "digits.polyvae"
    code, out, error = say("compress", place / "run", place / "digits", "--out", file)
    assert (code, error) == (0, "")
    assert "the bound" in out
    return file


def held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_file_of_the_users_is_not_overwritten_and_a_larger_one_is_said_to_be(
    place: Path, tmp_path: Path, say: Say
) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("a,b\n1,2\n")
    one = next((place / "digits" / "odd").glob("*.png"))
    code, _, error = say("compress", place / "run", one, "--out", mine)
    assert (code, mine.read_text()) == (2, "a,b\n1,2\n")
    assert "is there already, and this command did not write it; give another name" in error
    packed = tmp_path / "one.polyvae"
    for _ in range(2):  # its own file is replaced
        code, out, error = say("compress", place / "run", one, "--out", packed)
        assert code == 0, error
    assert f"larger than the files as they were, {packed.stat().st_size / one.stat().st_size:.1f} times" in out
    assert "1 example of 64 values" in out
    code, out, _ = say("decompress", packed, "--out", tmp_path / "one")
    assert "1 file, identical to the one that was compressed" in out


def test_files_come_back_in_their_folders_and_twice_the_same_bytes(
    place: Path, packed: Path, tmp_path: Path, say: Say
) -> None:
    again = tmp_path / "again"
    asked = ["compress", place / "run", place / "digits", "--out", again, "--samples", 64, "--json"]
    code, out, _ = say(*asked)
    assert code == 0
    assert again.read_bytes() == packed.read_bytes()
    told = json.loads(out)
    assert told["examples"] == 12
    assert told["size"] == packed.stat().st_size
    assert told["bound"] * (1 + told["over"]) == pytest.approx(told["net"])
    assert abs(told["over"]) < 0.1
    assert set(told["others"]) == {"png", "webp", "webp_strip", "gzip", "bz2", "lzma"}
    assert told["whole"] == []
    code, out, error = say("decompress", packed, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    assert out.startswith("9 files, identical")
    assert held(tmp_path / "out" / "digits") == held(place / "digits")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "digits.polyvae", "out"]


def test_the_bound_beside_is_that_of_evaluation(place: Path, packed: Path) -> None:
    run = pv.Run.load(place / "run")
    found = pv.compression.compress(run, [place / "digits"], packed)
    x = np.concatenate([np.load(place / "digits" / "rest.npy")])
    alone = pv.compression.compress(run, [place / "digits" / "rest.npy"], packed)
    assert alone.bound == pytest.approx(-float(torch.as_tensor(run.score(x)).sum()) / log(2), rel=0.02)
    assert found.bound is not None
    assert found.bound > alone.bound
    assert decompress(packed, run, packed.with_name("out")) == [packed.with_name("out") / "rest.npy"]


def test_a_file_that_nothing_makes_again_is_kept_and_told(place: Path, tmp_path: Path, say: Say) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("left")
    whole = (place / "digits" / "even" / "0.png").read_bytes()
    odd = tmp_path / "kept" / "a.npz"
    np.savez(odd, x=np.load(place / "digits" / "rest.npy"))
    odd.write_bytes(odd.read_bytes() + b" ")  # behind the archive, which NumPy reads all the same
    (tmp_path / "kept" / "b.png").write_bytes(whole)
    code, out, error = say("compress", place / "run", tmp_path / "kept", "--out", tmp_path / "file")
    assert code == 0
    assert "1 file of another kind is left out" in error
    assert "kept/a.npz" in " ".join(out.split())
    assert say("decompress", tmp_path / "file", "--out", tmp_path / "out")[0] == 0
    assert held(tmp_path / "out" / "kept") == {"a.npz": odd.read_bytes(), "b.png": whole}


def test_mistakes_are_one_line_and_write_nothing(place: Path, packed: Path, tmp_path: Path, say: Say) -> None:
    run, file = place / "run", place / "digits" / "even" / "0.png"
    other = tmp_path / "other.png"
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(other)
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(grey)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    before, out = held(tmp_path), tmp_path / "new"
    damaged = {"cut": packed.read_bytes()[:-9], "flipped": packed.read_bytes()[:-40] + bytes(40), "foreign": b"hello"}
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    before = held(tmp_path)
    for arguments, code, said in [
        (["compress", run, file], 2, "--out names the file"),
        (["compress", run], 2, "FILES"),
        (["compress", run, tmp_path / "none.png", "--out", out], 1, "no such file"),
        (["compress", run, __file__, "--out", out], 1, "expected a picture that lost nothing"),
        (["compress", run, other, "--out", out], 1, "expected examples of shape [1, 8, 8]"),
        (["compress", run, grey, "--out", out], 1, "expected 17 levels"),
        (["compress", run, file, "--out", file], 2, "is one of the files"),
        (["compress", tmp_path, file, "--out", out], 1, "run.json"),
        (["compress", run, file, "--out", full], 1, "it is a folder"),
        (["decompress", tmp_path / "none", "--out", out], 1, "no such file"),
        (["decompress", tmp_path / "cut", "--out", out], 1, "cut short or damaged"),
        (["decompress", tmp_path / "flipped", "--out", out], 1, "cut short or damaged"),
        (["decompress", tmp_path / "foreign", "--out", out], 1, "another kind of file"),
        (["decompress", packed, "--out", full], 1, "expected a new or an empty folder"),
        (["decompress", packed, "--run", tmp_path, "--out", out], 1, "run.json"),
    ]:
        found, printed, error = say(*arguments)
        assert (found, printed) == (code, ""), arguments
        assert said in error, error
        assert error.count("\n") == 1
        assert held(tmp_path) == before


def test_another_run_other_versions_and_forged_names_are_told(
    place: Path, packed: Path, tmp_path: Path, say: Say
) -> None:
    other = pv.Run.load(place / "run")
    with torch.no_grad():
        next(other.model.parameters()).add_(1e-3)
    other.save(tmp_path / "run")
    code, _, error = say("decompress", packed, "--run", tmp_path / "run", "--out", tmp_path / "out")
    assert code == 1
    assert "expected the run whose weights are" in error
    archive = read_archive(packed)
    for change, said in [
        ({"files": ["../outside.png", *archive.head["files"][1:]]}, "names of files within a folder"),
        ({"content": "0" * 32, "torch": "1.0"}, "computes other probabilities (PyTorch 1.0 there"),
        ({"ways": [99] * 9}, "something else"),
        ({"examples": [2] * 9}, "found something else"),
        ({"run": {**archive.head["run"], "folder": str(tmp_path / "gone")}}, "say where the run is: --run DIR"),
    ]:
        Archive({**archive.head, **change}, archive.rests, archive.words).write(tmp_path / "forged")
        code, _, error = say("decompress", tmp_path / "forged", "--out", tmp_path / "out")
        assert code == 1
        assert said in error, error
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "outside.png").exists()


def test_a_run_of_densities_is_refused_with_what_to_train(place: Path, tmp_path: Path, say: Say) -> None:
    assert main(["train", "vae", *TINY, "--epochs", "1", "--run", str(tmp_path / "run")]) == 0
    code, _, error = say("compress", tmp_path / "run", place / "digits", "--out", tmp_path / "file")
    assert code == 1
    assert "train with --likelihood logistic-mixture or categorical" in error
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("how", ["raises", "is killed"])
def test_what_stops_half_way_leaves_nothing(
    how: str, place: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["compress", str(place / "run"), str(place / "digits"), "--out", str(tmp_path / "file")]
    if how == "raises":

        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Chain, "_write", stopped)
        assert say(*asked)[0] == 1
    else:
        lines = [
            "import os, signal, sys",
            "from polyvae.cli import main",
            "from polyvae.compression.archive import Archive",
            "Archive.to_bytes = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
            "main(sys.argv[1:])",
        ]
        source = str(Path(pv.__file__).parents[1])
        killed = subprocess.run(
            [sys.executable, "-c", "\n".join(lines), *asked], env={**os.environ, "PYTHONPATH": source}, check=False
        )
        assert killed.returncode == -signal.SIGKILL
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert not (tmp_path / "file").exists()
