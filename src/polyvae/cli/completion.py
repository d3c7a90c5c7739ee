"""`polyvae completion`: a script for the shell, made from the same options that the commands read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Literal

from polyvae.cli import COMMANDS
from polyvae.cli.options import Option, call, options_of

FILES, FOLDERS, ANYTHING = "@files", "@folders", "@anything"  # in the place of words that can be listed
Words = dict[str, list[str]]  # by option; under "" what may stand by place


def run(name: str, arguments: Sequence[str]) -> None:
    """The command."""
    call(completion, "polyvae completion", arguments)


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Prints a script that completes commands, recipes, options, their values, names of data sets and paths.

    The script holds the names itself: keep it in a file, and write it anew after an update.

    shell: bash, zsh or fish.

    Example: polyvae completion bash > ~/.local/share/bash-completion/completions/polyvae
    polyvae completion zsh > ~/.polyvae-completion.zsh    # and in .zshrc: source ~/.polyvae-completion.zsh
    polyvae completion fish > ~/.config/fish/completions/polyvae.fish
    """
    print(SHELLS[shell](places()), end="")


def places() -> dict[str, Words]:
    """What may follow each beginning of a line: "" for commands, "train vae", "evaluate" and so on for the rest."""
    from polyvae import data
    from polyvae.cli import complete, evaluation, lists, pictures, prior, study, train
    from polyvae.recipes import RECIPES

    names = data.names()
    single = {
        "evaluate": evaluation.evaluate,
        "complete": complete.complete,
        "study": study.study,
        "recipes": lists.recipes,
        "datasets": lists.datasets,
        "datasets fetch": lists.fetch,
        "completion": completion,
        **pictures.COMMANDS,
    }
    found = {name: _words(options_of(command)) for name, command in single.items()}
    for recipe in (None, *RECIPES):
        words = _words([option for group in train.groups_of(recipe).values() for option in group])
        words["--data"] = [*names, FILES]
        found["train" if recipe is None else f"train {recipe}"] = words
    found["train"][""] = sorted(RECIPES)
    found["train-prior"] = _words([option for group in prior.groups_of().values() for option in group])
    found["study"][""] = list(study.STUDIES)
    found["study"]["--data"] = [*names, FILES]
    found["datasets"][""] = ["list", "fetch"]
    found["datasets fetch"][""] = names
    return {"": {"": list(COMMANDS), "--help": [], "--version": []}, **found}


def _words(options: Sequence[Option]) -> Words:
    words: Words = {"--help": []}
    for option in options:
        values = list(option.choices)
        if not values and option.read is not None:
            values = [{"PATH": FILES, "DIR": FOLDERS, "RUN": FOLDERS}.get(option.metavar, ANYTHING)]
        words[option.flag or ""] = values
    return words


def _bash(found: Mapping[str, Words]) -> str:
    """Two look-ups, words after a beginning and values of an option there, and a function that asks them."""
    words, values = [], []
    for place, known in found.items():
        flags = [flag for flag in known if flag]
        words.append(f"        {shlex.quote(place)}) echo {shlex.quote(' '.join([*known.get('', []), *flags]))} ;;")
        values += [
            f"        {shlex.quote(f'{place} {flag}')}) echo {shlex.quote(' '.join(known[flag]))} ;;"
            for flag in flags
            if known[flag]
        ]
    return BASH.replace("WORDS\n", "\n".join(words) + "\n").replace("VALUES\n", "\n".join(values) + "\n")


def _zsh(found: Mapping[str, Words]) -> str:
    """bash's script behind zsh's own bridge to it."""
    return f"autoload -U +X compinit bashcompinit && compinit -u && bashcompinit\n{_bash(found)}"


def _fish(found: Mapping[str, Words]) -> str:
    """A line for each word or option, with the condition under which it is offered."""
    lines = ["complete -c polyvae -f"]
    for place, known in found.items():
        seen = [f"__fish_seen_subcommand_from {word}" for word in place.split()]
        when = "; and ".join(seen) if seen else f"not __fish_seen_subcommand_from {' '.join(COMMANDS)}"
        for flag, values in known.items():
            line = f"complete -c polyvae -n {shlex.quote(when)}"
            line += f" -l {flag.removeprefix('--')}" if flag else ""
            plain = [value for value in values if not value.startswith("@")]
            line += f" -a {shlex.quote(' '.join(plain))}" if plain else ""
            files = FILES in values or FOLDERS in values
            lines.append(line + (" -r -F" if files else " -x" if values and flag else ""))
    return "\n".join(lines) + "\n"


BASH = r"""# Completion of polyvae's commands; made by `polyvae completion`.
_polyvae_words() {
    case "$1" in
WORDS
    esac
}
_polyvae_values() {
    case "$1" in
VALUES
    esac
}
_polyvae() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="" place="" known="" word
    COMPREPLY=()
    (( COMP_CWORD > 1 )) && { place="${COMP_WORDS[1]}"; previous="${COMP_WORDS[COMP_CWORD-1]}"; }
    if (( COMP_CWORD > 2 )) && [[ -n "$(_polyvae_words "$place ${COMP_WORDS[2]}")" ]]; then
        place="$place ${COMP_WORDS[2]}"
    fi
    if [[ "$previous" == --* ]]; then
        known="$(_polyvae_values "$place $previous")"
    fi
    if [[ -z "$known" ]]; then
        known="$(_polyvae_words "$place")"
        fi
    for word in $known; do
        case "$word" in
            @files) COMPREPLY+=( $(compgen -f -- "$current") ) ;;
            @anything) ;;
            @folders) COMPREPLY+=( $(compgen -d -- "$current") ) ;;
            "$current"*) COMPREPLY+=( "$word" ) ;;
        esac
    done
}
complete -o filenames -F _polyvae polyvae
"""
SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
