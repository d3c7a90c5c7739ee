"""`polyvae translate`: a figure of modalities made of another, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polyvae.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translate")
    stream = np.random.default_rng(0)
    x = stream.integers(0, 255, (60, 6, 6), dtype=np.uint8)
    np.savez(folder / "views.npz", near=x, far=x[:, ::-1].copy(), size=stream.normal(size=(60, 2)).astype(np.float32))
    line = ["train", "mopoe", "--data", str(folder / "views.npz"), "--modalities", "near,far,size", "--latent", "2"]
    assert main([*line, "--epochs", "1", "--run", str(folder / "run")]) == 0
    return folder / "run"


def test_modalities_are_made_of_the_one_that_is_named_and_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npz = run / "made.npz"
    line = ["translate", str(run), "--from", "near", "--number", "3", "--draws", "2", "--npz", str(npz), "--json"]
    assert main(line) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files == [str(run / "figures" / "translations-near.png"), str(npz)]
    assert all(Path(file).exists() for file in files)
    assert main(["translate", str(run), "--from=size", "--to", "far", "--number", "2"]) == 0
    assert capsys.readouterr().out.strip() == str(run / "figures" / "translations-size.png")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--from", "neer"], "--from is one of near, far, size; got 'neer'; did you mean near?"),
        (["--from", "near", "--to", "near"], "--to is one of far, size; got 'near'"),
        (["--from", "near", "--to", "size"], ""),
    ],
)
def test_what_is_no_modality_is_refused_by_name(run: Path, line: list[str], said: str, capsys) -> None:
    code = main(["translate", str(run), *line])
    assert code == (2 if said else 0)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sample", "reconstruct", "complete", "evaluate", "figures", "traverse"])
def test_commands_for_one_x_say_what_is_for_several(
    run: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(run)]) == 1
    assert "is a run of several modalities, near, far, size" in capsys.readouterr().err
