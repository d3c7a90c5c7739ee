"""Command lines that must be refused, and what is asked of a refusal.

A table maps a command line to its exit code and to words that its message must hold: the option, file or value, and
what was expected. LONG stands for a number of five thousand digits.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

from polyvae.cli import main

LONG = "9" * 5000
SECONDS = 30  # after which a line counts as accepted: it would train, or run a study, for hours
Table = dict[str, tuple[int | str, ...]]


def make_files(place: Path) -> None:
    """Into a folder: good data, bad data, runs and things that are not runs."""
    make_data(place)
    make_bad_data(place)
    make_runs(place)


def make_data(place: Path) -> None:
    """Pictures and tables that can be read."""
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 255, (40, 1, 8, 8), dtype=np.uint8), np.arange(40) % 4
    for folder in ("with space", "größe", "-dash"):
        (place / folder).mkdir()
        np.save(place / folder / "pics.npy", x)
    np.save(place / "pics.npy", x)
    np.savez(place / "labelled.npz", x=x, y=y)
    np.savez(place / "wide.npz", x=x[:, :, :4], y=y)
    np.save(place / "one.npy", x[:1])
    np.save(place / "two.npy", x[:2])
    rows = [",".join(f"{value:.3f}" for value in row) for row in draw.normal(size=(40, 5))]
    (place / "table.csv").write_text("\n".join(["a,b,c,d,e", *rows]) + "\n")


def make_bad_data(place: Path) -> None:
    """Files that are not what their names say, or hold what cannot be modelled."""
    (place / "plain").write_text("nothing")
    (place / "empty.csv").write_text("")
    (place / "empty.npy").write_bytes(b"")
    (place / "header.csv").write_text("a,b,c\n")
    (place / "ragged.csv").write_text("a,b\n1,2\n3,4,5\n6\n")
    (place / "words.csv").write_text("a,b\n1,red\n2,green\n")
    (place / "holes.csv").write_text("a,b\n1,2\n,4\n")
    (place / "nameless.csv").write_text("1,2\n3,4\n5,6\n")
    (place / "twice.csv").write_text("a,a\n3,4\n5,6\n")
    (place / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    (place / "text.npz").write_text("this is no archive\n")
    (place / "text.npy").write_text("this is no array\n")
    (place / "text.parquet").write_text("this is no table\n")
    Image.new("L", (8, 8)).save(place / "png.png")
    shutil.copy(place / "png.png", place / "png.npy")
    shutil.copy(place / "pics.npy", place / "array.npz")
    shutil.copy(place / "labelled.npz", place / "archive.npy")
    shutil.copy(place / "pics.npy", place / "pics.csv")
    (place / "cut.npz").write_bytes((place / "labelled.npz").read_bytes()[:-200])
    (place / "cut.npy").write_bytes((place / "pics.npy").read_bytes()[:-200])
    with zipfile.ZipFile(place / "noarrays.npz", "w"):
        pass
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000000,), }"
    header = header.ljust(117) + b"\n"
    (place / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with zipfile.ZipFile(place / "huge.npz", "w") as archive:
        archive.write(place / "huge.npy", "x.npy")
    for name, array in {
        "objects": np.array([{}, 1], dtype=object),
        "strings": np.array(["a", "b", "c"]),
        "scalar": np.array(3.0),
        "none": np.zeros((0, 1, 8, 8), np.float32),
        "complex": np.zeros((9, 3), np.complex64),
        "nan": np.full((9, 3), np.nan, np.float32),
        "inf": np.array([[1.0, np.inf]] * 9, np.float32),
        "deep": np.zeros((9, 1, 2, 3, 4, 5), np.float32),
        "dates": np.zeros(9, "datetime64[D]"),
    }.items():
        np.save(place / f"{name}.npy", array, allow_pickle=True)
    np.savez(place / "uneven.npz", x=np.zeros((9, 3), np.float32), y=np.zeros(8, np.int64))
    np.savez(place / "names.npz", alpha=np.zeros((9, 3), np.float32), beta=np.zeros((8, 4), np.float32))
    for folder in ("nothing", "texts", "broken"):
        (place / folder).mkdir()
    (place / "texts" / "read.txt").write_text("no picture")
    for number in range(3):
        (place / "broken" / f"{number}.png").write_bytes(b"no picture")


def make_runs(place: Path) -> None:
    """A run of pictures, one of tables, one of codes, and folders that are no runs."""
    small = "--epochs 1 --widths 8 --device cpu"
    for line in (
        f"train vae --data labelled.npz --network mlp --latent 3 {small} --run run",
        f"train vae --data table.csv --network mlp --latent 2 {small} --run tables",
        f"train vq_vae --data labelled.npz --codes 4 --dim 2 {small} --run codes",
        f"train semi_conditional --data labelled.npz --network mlp --latent 2 {small} --run seeing",
    ):
        code, _, err = said(place, shlex.split(line))
        assert code == 0, err
    for name, text in {"halfjson": '{"recipe": ', "list": "[]", "nobody": '{"data": {}, "settings": {}}'}.items():
        (place / name).mkdir()
        (place / name / "run.json").write_text(text)
    for name in ("noweights", "halfweights", "moved"):
        shutil.copytree(place / "run", place / name)
    (place / "noweights" / "weights.safetensors").unlink()
    weights = place / "halfweights" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    record = place / "moved" / "run.json"
    changed = json.loads(record.read_text().replace("labelled.npz", "gone.npz"))
    changed.pop("sealed")
    record.write_text(json.dumps(changed))


def said(place: Path, arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line called within a folder."""
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(place)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
    finally:
        os.chdir(before)
    return code, out.getvalue(), err.getvalue()


def _too_long(*_: object) -> None:
    raise TimeoutError(f"nothing was refused in {SECONDS} seconds")


def listing(place: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with its size and when it was written."""
    found = {}
    for path in place.rglob("*"):
        state = path.lstat()
        found[str(path.relative_to(place))] = (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
    return found


def assert_refused(place: Path, line: str, wanted: tuple[int | str, ...]) -> None:
    """The line ends with the code, in one line (after notes) that holds the words, and leaves nothing behind."""
    code, *words = wanted
    before = listing(place)
    arguments = [LONG if part == "LONG" else part for part in shlex.split(line)]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        found, out, err = said(place, arguments)
    finally:
        signal.alarm(0)
    after = listing(place)
    for name in sorted(after.keys() - before.keys()):  # the next line starts from the same
        path = place / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    told = err.splitlines()
    assert found != 0, f"accepted: {out}{err}"
    assert found == code, f"exit code {found}: {err}"
    assert out == "", f"on standard output: {out}"
    assert "Traceback" not in err
    assert told[-1].startswith("polyvae: "), err
    notes = ("polyvae: note: ", "training in ", "going on with ")
    assert all(note.startswith(notes) for note in told[:-1]), err
    assert len(told[-1]) <= 700, f"{len(told[-1])} characters: {told[-1][:200]}"
    missing = [word for word in words if str(word) not in told[-1]]
    assert not missing, f"without {missing}: {told[-1]}"
    assert after == before, f"left behind or changed: {sorted(set(after.items()) ^ set(before.items()))}"
