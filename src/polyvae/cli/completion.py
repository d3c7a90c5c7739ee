"""`polyvae completion`: a script for the shell, written by shtab from the options that the commands read."""

from __future__ import annotations

import argparse
import shlex
from typing import Any, Literal, cast

import shtab

from polyvae import data
from polyvae.cli import COMMANDS, fit_completion, fit_prior, prior, train
from polyvae.cli.commands import PLACES, options_at
from polyvae.cli.options import Option
from polyvae.cli.signatures import recipes

PATHS = {"PATH": shtab.FILE, "FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "RUN": shtab.DIRECTORY}  # by metavar
NAMES = {"bash": "_polyvae_names", "zsh": "_polyvae_names", "fish": "(_polyvae_names)"}  # data sets, and files
PREAMBLE = {
    "bash": "_polyvae() { _shtab_polyvae; }\n_polyvae_names() { compgen -W 'WORDS' -- $1; compgen -f -- $1; }",
    "zsh": "_polyvae_names() { _alternative 'names:data set:(WORDS)' 'files:file:_files'; }",
    "fish": "function _polyvae_names; string split ' ' 'WORDS'; __fish_complete_path (commandline -ct); end",
}


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Prints a script that completes commands, recipes, options, their values, names of data sets and paths.

    The script holds the names itself: keep it in a file, and write it anew after an update.

    shell: bash, zsh or fish.

    Example: polyvae completion bash > ~/.local/share/bash-completion/completions/polyvae
    polyvae completion zsh > ~/.polyvae-completion.zsh    # and in .zshrc: source ~/.polyvae-completion.zsh
    polyvae completion fish > ~/.config/fish/completions/polyvae.fish
    """
    preamble = {name: text.replace("WORDS", " ".join(data.names())) for name, text in PREAMBLE.items()}
    script = shtab.complete(_parser(), shell, preamble=cast(Any, preamble))
    if shell == "zsh":  # may be sourced then, not only found by zsh itself
        script = f"autoload -U +X compinit && compinit -u\neval {shlex.quote(script)}"
    print(script)


def places() -> dict[str, dict[str, Option]]:
    """The options after each beginning of a line, "train vae" or "evaluate", by flag; under "" what stands by place."""
    groups = {f"train {recipe}": train.groups_of(recipe) for recipe in sorted(recipes())}
    groups |= {"train": train.groups_of(None), "train-prior": prior.groups_of()}
    groups |= {"fit-prior": fit_prior.every_group(), "fit-completion": fit_completion.groups_of()}
    found = {place: options_at(place) for place in PLACES}
    found |= {place: [option for group in each.values() for option in group] for place, each in groups.items()}
    return {place: {option.flag or "": option for option in options} for place, options in found.items()}


def _parser() -> argparse.ArgumentParser:
    """The commands as shtab reads them."""
    words = {"datasets fetch": data.names()}  # that may stand by place
    found, below = places(), {}
    made = {"": argparse.ArgumentParser("polyvae", add_help=False)}
    for place in ("--help", "--version", *COMMANDS, *(each for each in found if " " in each)):
        above, _, word = place.rpartition(" ")
        if above not in below:
            below[above] = made[above].add_subparsers()
        made[place] = below[above].add_parser(word, help=word)
        for flag, option in found.get(place, {}).items():
            how: dict[str, Any] = {"choices": option.choices or None if flag else option.choices or words.get(place)}
            if flag:
                how = {"dest": option.key, "help": option.help} | (how if option.read else {"action": "store_true"})
            action = cast(Any, made[place].add_argument(flag or option.key, **how))
            if flag == "--data" or option.metavar in PATHS:
                action.complete = NAMES if flag == "--data" else PATHS[option.metavar]
    return made[""]
