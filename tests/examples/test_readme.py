"""What README, CONTRIBUTING and the pages of docs show is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from polyvae.recipes import RECIPES

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text(encoding="utf-8"))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run_python(path: Path, folder: Path) -> None:
    """All blocks of a page as one program, in a process of its own and an empty folder."""
    code = "\n".join(blocks(path, "python"))
    guarded = f"import warnings; warnings.simplefilter('error')\n{code}"
    done = subprocess.run([sys.executable, "-c", guarded], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{path.name}:\n{done.stderr}"


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: path.stem)
def test_python_of_the_page_runs(path: Path, tmp_path: Path) -> None:
    run_python(path, tmp_path)


def test_shell_lines_of_the_readme_run(tmp_path: Path) -> None:
    lines = "".join(blocks(ROOT / "README.md", "sh")).splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.strip()]
    assert len(commands) >= 13
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    for command in commands:
        assert command[0] == "polyvae"
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment
        )
        assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stderr}"


def test_readme_stays_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_readme_names_every_recipe() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("## Recipes") : text.index("## Data")]
    assert set(re.findall(r"`([a-z0-9_]+)`", table)) >= {name for name in RECIPES if name != "warm_vae"}


def test_the_five_lines_of_contributing_make_a_recipe(tmp_path: Path) -> None:
    from helpers.contract import check_recipe

    (code,) = blocks(ROOT / "CONTRIBUTING.md", "python")
    body = code[code.index("@pv.recipes.recipe") :]
    assert len([line for line in body.splitlines() if line.strip() and '"""' not in line]) <= 5
    try:
        exec(code, {})
        check_recipe("warm_vae", tmp_path)
    finally:
        RECIPES.pop("warm_vae", None)
