"""The scripts that let shells complete the commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from polyvae.cli import COMMANDS, main
from polyvae.cli.completion import places
from polyvae.recipes import RECIPES

ASK = """source {script}
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_polyvae
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bash's script."""
    from contextlib import redirect_stdout

    place = tmp_path_factory.mktemp("completion") / "polyvae.bash"
    with open(place, "w") as out, redirect_stdout(out):
        assert main(["completion", "bash"]) == 0
    return place


def completed(script: Path, words: str, folder: Path) -> set[str]:
    """What bash offers at the end of a line."""
    made = subprocess.run(
        ["bash", "--norc", "-c", ASK.format(script=script, words=words)],
        capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    assert made.stderr == ""
    return set(made.stdout.split())


def test_bash_completes_commands_recipes_options_values_and_paths(script: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "rows.csv").write_text("")
    for words, expected in {
        "polyvae tra": {"train", "train-prior", "translate", "traverse"},
        "polyvae train beta": {"beta_vae", "beta_tcvae"},
        "polyvae train beta_vae --fre": {"--free-bits"},
        "polyvae train vae --fre": set(),
        "polyvae train vae --network ''": {"mlp", "mlp-tanh", "conv", "residual", "strided"},
        "polyvae train vae --network c": {"conv"},
        "polyvae train vae --latent ''": set(),
        "polyvae train vae --data dig": {"digits"},
        "polyvae train vae --data ro": {"rows.csv"},
        "polyvae evaluate ru": {"runs"},
        "polyvae evaluate runs --split t": {"train", "test"},
        "polyvae evaluate runs --json --sa": {"--samples"},
        "polyvae sample runs --out ro": {"rows.csv"},
        "polyvae study mu": {"multimodal", "multitask"},
        "polyvae datasets fe": {"fetch"},
        "polyvae datasets fetch mnist-s": {"mnist-svhn", "mnist-svhn-text"},
        "polyvae datasets fetch km": {"kmnist"},
        "polyvae completion f": {"fish"},
        "polyvae nothing --x": set(),
    }.items():
        assert completed(script, words, tmp_path) == expected, words


def test_bash_offers_all_commands_and_all_recipes(script: Path, tmp_path: Path) -> None:
    assert completed(script, "polyvae ''", tmp_path) == {*COMMANDS, "--help", "--version"}
    assert set(RECIPES) <= completed(script, "polyvae train ''", tmp_path)


def test_every_option_that_a_script_offers_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for place, words in places().items():
        assert main([*place.split(), "--help"]) == 0
        told = capsys.readouterr().out
        assert not [flag for flag in words if flag and flag not in told], place


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_a_script_that_they_can_read(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    (tmp_path / "script").write_text(script)
    assert all(name in script for name in (*COMMANDS, *RECIPES))
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
