"""`polyvae train` of several modalities: options by name, names that clash, and what is said around the training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.commands import Say

RECIPES = ("mvae", "mmvae", "mopoe", "jmvae", "mvtcae", "mmvae_plus", "dmvae", "poise")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two numbers, a word and a diagnosis, where some of the sodium is missing."""
    stream = np.random.default_rng(0)
    iron, sodium = stream.normal(size=(2, 60))
    rows = ["iron,sodium,colour,diagnosis"]
    for n in range(60):
        salt = "" if n % 3 == 0 else f"{sodium[n]:.3f}"
        rows.append(f"{iron[n]:.3f},{salt},{('red', 'green')[n % 2]},{('ill', 'well')[n % 2]}")
    path = tmp_path / "patients.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def line(table: Path, tmp_path: Path) -> list[str]:
    """A training of one epoch, modalities and recipe left open."""
    return ["--data", str(table), "--latent", "2", "--epochs", "1", "--run", str(tmp_path / "run")]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_example_of_the_help_has_data_of_several_modalities(say: Say, recipe: str) -> None:
    code, out, _ = say("train", recipe, "--help")
    assert code == 0
    assert f"polyvae train {recipe} --data mnist-svhn --epochs 10" in out


def test_the_example_of_one_x_stays(say: Say) -> None:
    assert "polyvae train vae --data mnist --epochs 10" in say("train", "vae", "--help")[1]


def test_network_and_likelihood_are_given_by_modality(say: Say, line: list[str], tmp_path: Path) -> None:
    more = ["--network", "iron=mlp,sodium=mlp-tanh", "--likelihood", "iron=normal, sodium=laplace"]
    code, _, err = say("train", "mmvae", *line, "--modalities", "iron,sodium", *more)
    assert code == 0, err
    options = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["options"]
    assert options["network"] == "iron=mlp,sodium=mlp-tanh"
    assert options["likelihood"] == "iron=normal, sodium=laplace"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--network", "iron=mpl"], ["--network", "'mpl' for iron", "did you mean mlp"]),
        (["--network", "mpl"], ["--network", "'mpl'", "did you mean mlp", "NAME=VALUE,..."]),
        (["--network", "irn=mlp"], ["--network: the modalities are iron, sodium", "'irn'", "did you mean iron?"]),
        (["--network", "iron=mlp,conv"], ["--network", "NAME=VALUE", "'conv' alone"]),
        (["--network", "iron=mlp,iron=conv"], ["--network names each modality once"]),
        (["--likelihood", "iron=normol"], ["--likelihood", "'normol' for iron", "did you mean normal"]),
        (["--likelihood", "salt=normal"], ["--likelihood: the modalities are", "'salt'"]),
        (["--weights", "0"], ["--weights", "above 0", "got 0"]),
        (["--weights", "iron=0,sodium=0"], ["--weights", "above 0", "iron=0,sodium=0"]),
        (["--network", "conv"], ["--network", "'conv' is for pictures", "iron", "mlp"]),
        (["--network", "iron=residual"], ["--network", "'residual' is for pictures", "iron"]),
        (["--beside", "colour"], ["--beside", "colour", "mmvae"]),
        (["--gaps"], ["--gaps", "as a whole"]),
    ],
)
def test_what_does_not_fit_is_refused_by_option(say: Say, line: list[str], more: list[str], words: list[str]) -> None:
    code, _, err = say("train", "mmvae", *line, "--modalities", "iron,sodium", *more)
    assert code == 2
    for word in words:
        assert word in err
    assert not Path(line[-1]).exists()


@pytest.mark.parametrize(
    ("recipe", "asked", "name"),
    [
        ("mmvae", "z=sodium,b=iron", "z"),
        ("poise", "b=iron,z_b=sodium", "z_b"),
        ("mmvae_plus", "b=iron,w_b=sodium", "w_b"),
        ("mmvae_plus", "b=iron,latents=sodium", "latents"),
        ("dmvae", "b=iron,w_b=sodium", "w_b"),
    ],
)
def test_a_modality_is_not_called_as_a_latent(say: Say, line: list[str], recipe: str, asked: str, name: str) -> None:
    code, _, err = say("train", recipe, *line, "--modalities", asked)
    assert code == 2
    assert f"--modalities: {name!r} is the name of a latent of {recipe}" in err
    assert f"{name}2=sodium" in err


def test_a_modality_is_not_called_as_a_flag(say: Say, line: list[str]) -> None:
    code, _, err = say("train", "mmvae", *line, "--modalities", "b=iron,b_present=sodium")
    assert code == 2
    assert "--modalities" in err
    assert "'b_present'" in err


def test_what_modalities_could_be_is_said_where_none_are_named(say: Say, line: list[str], tmp_path: Path) -> None:
    code, _, err = say("train", "mmvae", *line)
    assert code == 2
    assert "--modalities iron,sodium" in err
    assert "iron, sodium, colour, diagnosis" in err
    np.savez(tmp_path / "av.npz", image=np.ones((40, 4, 4), np.uint8), sound=np.ones((40, 3)), y=np.arange(40) % 2)
    code, _, err = say("train", "mmvae", "--data", tmp_path / "av.npz", "--run", tmp_path / "other")
    assert code == 2
    assert "--modalities image,sound" in err


def test_what_is_missing_and_what_comes_next_is_said(say: Say, line: list[str], tmp_path: Path) -> None:
    code, out, err = say("train", "mmvae", *line, "--modalities", "iron,sodium")
    assert code == 0
    assert re.search(r"iron missing in 0%, sodium missing in [23]\d% of the training rows", err)
    assert f"next: polyvae translate {tmp_path / 'run'} --from iron" in out
    code, _, err = say("train", "--resume", "--run", tmp_path / "run", "--modalities", "iron,salt=sodium")
    assert code == 2
    assert "--modalities: iron=iron,sodium=sodium then, iron=iron,salt=sodium now" in err
    assert len(err) < 300
    assert say("train", "--resume", "--run", tmp_path / "run", "--modalities", "iron,sodium")[0] == 0


@pytest.mark.filterwarnings("ignore::polyvae.data.errors.DataNote")
def test_subfolders_are_modalities(say: Say, tmp_path: Path) -> None:
    for name in ("photos", "scans"):
        (folder := tmp_path / "pics" / name).mkdir(parents=True)
        for n in range(30):
            Image.fromarray(np.full((4, 4), 8 * n, np.uint8)).save(folder / f"{n}.png")
    (tmp_path / "pics" / "photos" / "7.png").write_bytes(b"no picture")
    line = ["--data", tmp_path / "pics", "--latent", "2", "--epochs", "1", "--run", tmp_path / "run"]
    code, _, err = say("train", "mvae", *line, "--modalities", "photo=photos,scan=scns")
    assert code == 1
    assert "'scns'" in err
    assert "did you mean scans?" in err
    code, _, err = say("train", "mvae", *line, "--modalities", "photo=photos,scan=scans", "--skip-bad")
    assert code == 0, err
    assert "photo missing in 4%" in err
    assert say("train", "--resume", "--run", tmp_path / "run", "--epochs", "2")[0] == 0


def test_the_study_lists_the_recipes_that_it_is_for(say: Say, tmp_path: Path) -> None:
    code, _, err = say("study", "multimodal", "--models", "mmvea", "--out", tmp_path / "study")
    assert code
    assert ", ".join(RECIPES[:2]) in err
    assert "did you mean" in err
    assert "beta_vae" not in err
