"""`polyvae evaluate`, `sample`, `reconstruct` and `figures` of runs of several modalities, and what is for one x."""

from __future__ import annotations

import json
import shutil
from math import log
from pathlib import Path

import numpy as np
import pytest

from polyvae.cli import main


def test_the_report_tells_coherence_bounds_and_probes_and_is_kept(
    modal_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    assert main(["evaluate", str(modal_run), "--samples", "3", "--out", str(out)]) == 0
    said, told = capsys.readouterr().out, json.loads(out.read_text())
    for words in (
        "coherence",
        "drawn together",
        "bounds on log p(x), nats",
        "linear classifiers",
        str(out),
    ):
        assert words in said
    assert (told["run"], told["split"], told["recipe"]["name"]) == (str(modal_run), "test", "mopoe")
    assert {each["target"] for each in told["coherence"]} == {"near", "far", "size"}
    assert told["samples"] == 3
    assert told["commonest"] == pytest.approx(1 / 3, abs=0.2)
    assert "one value of the commonest class for all rows" in said
    assert len(told["probes"]) == 7
    near = next(each for each in told["bounds"] if each["given"] == ["near"])
    wanted = -near["bound"] / (36 * log(2)) + np.log2(255)
    assert near["bound_bits"] == pytest.approx(wanted, rel=1e-5)
    assert all(each["bound_bits"] is None for each in told["bounds"] if "size" in each["given"])
    assert any(note.startswith("size: no bits") for note in told["notes"])


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (["evaluate", "--baselines"], "--baselines"),
        (["evaluate", "--ais", "10"], "--ais"),
        (["sample", "--top-k", "3"], "--top-k"),
        (["sample", "--guidance", "2"], "--guidance"),
    ],
)
def test_options_of_one_x_are_refused_by_name(modal_run: Path, line: list[str], option: str, capsys) -> None:
    assert main([line[0], str(modal_run), *line[1:]]) == 2
    assert f"{option} is for runs of one x" in capsys.readouterr().err


def test_samples_are_of_all_modalities_together(modal_run: Path, tmp_path: Path, capsys) -> None:
    png, npz = tmp_path / "a.png", tmp_path / "a.npz"
    line = ["sample", str(modal_run), "--number", "20", "--out", str(png), "--npz", str(npz)]
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(png), str(npz)]
    held = np.load(npz)
    assert {name: held[name].shape for name in held} == {"near": (32, 1, 6, 6), "far": (32, 1, 6, 6), "size": (32, 2)}
    assert main(line) == 0
    assert all(np.array_equal(held[name], np.load(npz)[name]) for name in held)
    assert main([*line, "--pixels"]) == 0
    assert np.load(npz)["near"].std() > held["near"].std()


def test_a_fitted_prior_is_judged_taken_and_left_out(modal_run: Path, tmp_path: Path, capsys) -> None:
    run, npz = Path(shutil.copytree(modal_run, tmp_path / "run")), tmp_path / "a.npz"
    assert main(["fit-prior", str(run), "mixture", "--components", "3", "--examples", "20"]) == 0
    said = capsys.readouterr().out
    assert "components: 3" in said
    assert all(words in said for words in ("drawn together", "Fréchet distance, near", "Fréchet distance, far"))
    assert "Fréchet distance, size" not in said
    drawn = {}
    for more in ((), ("--code-prior", "own")):
        assert main(["sample", str(run), "--npz", str(npz), *more]) == 0
        drawn[more] = np.load(npz)["size"]
        capsys.readouterr()
        assert main(["evaluate", str(run), "--samples", "2", "--json", *more]) == 0
        assert any("the fitted prior" in note for note in json.loads(capsys.readouterr().out)["notes"]) is not bool(
            more
        )
    assert main(["sample", str(modal_run), "--npz", str(npz)]) == 0
    assert np.array_equal(np.load(npz)["size"], drawn["--code-prior", "own"])
    assert not np.array_equal(*drawn.values())
    assert main(["fit-prior", str(run), "mixture"]) == 1
    assert "already holds a learned prior" in capsys.readouterr().err


def test_reconstructions_and_figures_are_drawn(modal_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(modal_run), "--number", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(modal_run / "figures" / "reconstructions.png")
    assert main(["figures", str(modal_run), "--arrays"]) == 0
    made = {Path(line).name for line in capsys.readouterr().out.split()}
    assert made == {"curves.png", "modalities.png", "map.png"}
    assert all((modal_run / "figures" / name).with_suffix(".npz").exists() for name in made)


def test_without_pictures_values_are_kept_or_the_command_says_how(tmp_path: Path, capsys) -> None:
    stream = np.random.default_rng(0)
    table = {name: stream.normal(size=(60, size)).astype(np.float32) for name, size in (("blood", 3), ("urine", 2))}
    np.savez(tmp_path / "table.npz", **table)
    run = tmp_path / "run"
    line = ["train", "mvae", "--data", str(tmp_path / "table.npz"), "--modalities", "blood,urine", "--epochs", "1"]
    assert main([*line, "--run", str(run)]) == 0
    for command, name in (("sample", "urine"), ("reconstruct", "reconstruction/urine")):
        assert main([command, str(run)]) == 1
        assert "none of blood, urine is a picture" in capsys.readouterr().err
        assert main([command, str(run), "--number", "5", "--npz", str(tmp_path / "kept.npz")]) == 0
        assert np.load(tmp_path / "kept.npz")[name].shape == (5, 2)
    for line in (["translate"], ["evaluate", "--samples", "2"], ["figures"]):
        assert main([line[0], str(run), *line[1:]]) == 0
    assert "no coherence" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["complete", "traverse", "interpolate", "augment"])
def test_commands_for_one_x_say_what_is_for_several(
    modal_run: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(modal_run)]) == 1
    said = capsys.readouterr().err
    assert "is a run of several modalities, near, far, size" in said
    assert "polyvae translate, evaluate, sample, reconstruct, figures and fit-prior" in said


def test_real_values_are_those_of_the_part_that_is_asked_for(modal_run: Path, capsys) -> None:
    found = {}
    for part in ("train", "test"):
        line = ["evaluate", str(modal_run), "--samples", "1", "--split", part, "--json"]
        capsys.readouterr()
        assert main(line) == 0
        found[part] = json.loads(capsys.readouterr().out)
    assert found["train"]["judges"]["near"] > 0.9 > found["test"]["judges"]["near"]
    assert found["train"]["real"] == {} != found["test"]["real"]
    assert any("these are training rows" in note for note in found["train"]["notes"])


def test_files_hold_the_numbers_and_the_words_of_categories(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    level, colour = stream.choice([3, 5, 9], 90), stream.choice(["blue", "green", "red"], 90)
    text = "\n".join(["level,colour,size", *(f"{a},{b},{a / 3 + 0.1}" for a, b in zip(level, colour, strict=True))])
    (tmp_path / "table.csv").write_text(text)
    run, npz = tmp_path / "run", tmp_path / "kept.npz"
    line = ["train", "mvae", "--data", str(tmp_path / "table.csv"), "--modalities", "a=level+colour,b=size"]
    assert main([*line, "--kind", "level=category", "--epochs", "1", "--run", str(run)]) == 0
    for asked, name in (
        (["sample"], "a"),
        (["sample", "--pixels"], "a"),
        (["reconstruct"], "original/a"),
        (["reconstruct"], "reconstruction/a"),
        (["translate", "--from", "a"], "a"),
        (["translate", "--from", "b", "--score", "0"], "a/samples"),
    ):
        assert main([asked[0], str(run), *asked[1:], "--npz", str(npz)]) == 0
        held = np.load(npz)
        assert set(np.unique(held[name][..., 0])) <= {3, 5, 9}
        assert set(np.unique(held[name][..., 1])) <= {0, 1, 2}
        labels = next(key for key in held if key.endswith("a/labels/colour"))
        assert held[labels].tolist() == ["blue", "green", "red"]
