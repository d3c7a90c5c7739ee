"""The help of commands and recipes: every one has an example, every option its default."""

from __future__ import annotations

import pytest

from helpers.commands import Say
from polyvae.cli import COMMANDS

HELPS = [*([name] for name in COMMANDS), ["train", "beta_vae"], ["datasets", "fetch"], ["study", "multitask"]]


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_of_every_command_has_an_example(command: list[str], say: Say) -> None:
    code, out, err = say(*command, "--help")
    assert (code, err) == (0, "")
    assert f"usage: polyvae {' '.join(command)}" in out
    assert f"example:\n  polyvae {command[0]}" in out


def test_help_of_a_recipe_lists_its_own_options_with_defaults(say: Say) -> None:
    _, out, _ = say("train", "mmd_vae", "--help")
    assert "--bandwidth X" in out
    assert "(default: rbf)" in out
    assert "--beta" not in out
    assert "--objective" not in out  # no text can stand for a module
