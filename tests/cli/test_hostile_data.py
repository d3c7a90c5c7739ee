"""Data that must be refused: files that are not what they seem, and options of the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.hostile import Table, assert_refused

FILES: Table = {
    "''": (2, "--data", "''"),
    "' '": (2, "' '"),
    "nowhere.npy": (2, "nowhere.npy"),
    "nowhere/": (2, "nowhere/"),
    "digis": (2, "did you mean 'digits'"),
    "MNIST": (2, "MNIST", "mnist"),
    "LONG": (2, "999"),
    "with": (2, "with"),
    "größ": (2, "größ"),
    "plain": (1, "plain", ".npy"),
    "empty.csv": (1, "empty.csv", "an empty"),
    "empty.npy": (1, "empty.npy"),
    "header.csv": (1, "header.csv", "at least one row"),
    "ragged.csv": (1, "ragged.csv", "row 2"),
    "words.csv": (1, "words.csv", "nothing remains"),
    "holes.csv": (1, "holes.csv", "missing"),
    "nameless.csv": (1, "nameless.csv", "names of columns"),
    "twice.csv": (1, "twice.csv", "a name of its own"),
    "latin.csv": (1, "latin.csv", "UTF-8"),
    "pics.csv": (1, "pics.csv", "UTF-8"),
    "text.npz": (1, "text.npz", "archive"),
    "text.npy": (1, "text.npy", ".npy"),
    "text.parquet": (1, "text.parquet", "parquet"),
    "png.npy": (1, "png.npy", ".npy"),
    "png.png": (1, "png.png", "folder of pictures"),
    "array.npz": (1, "array.npz", "name it .npy"),
    "archive.npy": (1, "archive.npy", "name it .npz"),
    "cut.npz": (1, "cut.npz"),
    "cut.npy": (1, "cut.npy"),
    "noarrays.npz": (1, "noarrays.npz", "at least one array"),
    "huge.npy": (1, "huge.npy", "file size"),
    "huge.npz": (1, "huge.npz"),
    "objects.npy": (1, "objects.npy", "numbers"),
    "strings.npy": (1, "strings.npy", "numbers"),
    "scalar.npy": (1, "scalar.npy", "leading dimension"),
    "none.npy": (1, "none.npy", "empty"),
    "complex.npy": (1, "complex.npy", "complex64"),
    "nan.npy": (1, "nan.npy", "finite"),
    "inf.npy": (1, "inf.npy", "finite"),
    "deep.npy": (1, "deep.npy"),
    "dates.npy": (1, "dates.npy", "numbers"),
    "uneven.npz": (1, "uneven.npz", "as many examples"),
    "names.npz": (1, "names.npz"),
    "nothing": (1, "nothing"),
    "texts": (1, "texts"),
    "broken": (1, "broken"),
    "one.npy": (1, "one.npy", "1"),
    "two.npy": (1, "two.npy"),
    "/dev/null": (1, "/dev/null"),
    "/proc/self/mem": (1, "/mem"),
    "run": (1, "run"),
    "run/run.json": (1, "run.json", ".npy"),
    "run/weights.safetensors": (1, "weights.safetensors", ".npy"),
}
OPTIONS: Table = {
    "--data-seed -1": (2, "--data-seed", "-1"),
    "--data-seed x": (2, "--data-seed", "a whole number"),
    "--data-seed 1.5": (2, "--data-seed", "a whole number"),
    "--data-seed 99999999999999999999999": (2, "--data-seed"),
    "--limit 0": (2, "--limit", "at least 1", "0"),
    "--limit -5": (2, "--limit", "at least 1"),
    "--limit 2.5": (2, "--limit", "a whole number"),
    "--limit nan": (2, "--limit", "a whole number"),
    "--limit ''": (2, "--limit", "a whole number"),
    "--label colour": (1, "pics.npy"),
    "--label": (2, "--label", "expected one argument"),
    "--binarise soft": (2, "--binarise", "threshold"),
    "--binarise ''": (2, "--binarise"),
    "--binarise threshold --dequantise": (2, "--binarise", "--dequantise"),
    "--size 0": (2, "--size", "0"),
    "--size -8": (2, "--size", "-8"),
    "--size 8x8": (2, "--size", "a whole number"),
    "--size 100000000": (2, "--size", "from 1 to 16384"),
    "--validation -1": (2, "--validation", "-1"),
    "--validation -0.1": (2, "--validation", "-0.1"),
    "--validation 1.0": (2, "--validation", "1.0"),
    "--validation 1.5": (2, "--validation", "1.5"),
    "--validation nan": (2, "--validation", "nan"),
    "--validation inf": (2, "--validation", "inf"),
    "--validation x": (2, "--validation", "a number"),
    "--validation ''": (2, "--validation", "a number"),
    "--validation 40": (2, "--validation", "40"),
    "--validation 1000": (2, "--validation", "1000"),
    "--validation 0.999": (2, "--validation", "0.999"),
    "--validation 0": (2, "--validation"),
    "--fold 0": (2, "--fold", "--folds"),
    "--folds 5": (2, "--fold", "--folds"),
    "--fold 5 --folds 5": (2, "--fold", "0..4"),
    "--fold -1 --folds 5": (2, "--fold"),
    "--fold 0 --folds 1": (2, "--folds", "2"),
    "--fold 0 --folds 0": (2, "--folds"),
    "--fold 0 --folds 1000": (2, "--folds"),
    "--fold x --folds 5": (2, "--fold", "a whole number"),
    "--fold 0 --folds 5 --validation 3": (2, "--validation", "--folds"),
    "--blocks 1": (2, "--blocks", "at least 2"),
    "--blocks -2": (2, "--blocks", "at least"),
    "--blocks x": (2, "--blocks", "a whole number"),
    "--data-dir ''": (2, "--data-dir", "''"),
    "--no-centre=1": (2, "--no-centre"),
    "--centre": (2, "--centre", "did you mean --no-centre"),
    "--centered": (2, "--centered"),
    "--no-downloads": (2, "did you mean --no-download"),
    "--data": (2, "--data", "expected one argument"),
    "--dataseed 3": (2, "did you mean --data-seed"),
    "--dequantise yes": (2, "'yes'"),
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_cannot_be_modelled_is_named(file: str, hostile_place: Path) -> None:
    line = f"train vae --data {file} --network mlp --epochs 1 --run new --no-download"
    assert_refused(hostile_place, line, FILES[file])


@pytest.mark.parametrize("options", OPTIONS)
def test_an_option_of_the_data_that_cannot_be_is_refused(options: str, hostile_place: Path) -> None:
    line = f"train vae --data pics.npy --network mlp --epochs 1 --run new {options}"
    assert_refused(hostile_place, line, OPTIONS[options])
