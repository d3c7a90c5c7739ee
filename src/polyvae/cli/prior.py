"""`polyvae train-prior`: a PixelCNN over the codes of a vector-quantised run, in the folder `prior` within it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

from polyvae.cli.options import Option, Parser, naming
from polyvae.cli.reading import read_path
from polyvae.cli.runs import opened, printable
from polyvae.cli.train import FORMER, check_machine, recipe_options, settings_of, settings_options
from polyvae.training.run import Run
from polyvae.training.store import DESCRIPTION, STATE, RunError

TEXT = """Trains a learned prior over the codes of a vector-quantised run, the rest of it left as it is.

The codes of the training and validation part are computed once; a gated PixelCNN is trained on them and kept in
DIR/prior. From then on `polyvae sample DIR` draws codes from it and `polyvae evaluate DIR` reports the bound with it,
beside the one with equally probable codes. Ctrl-C leaves it to be gone on with by --resume."""
EXAMPLE = """polyvae train-prior runs/codes --epochs 30 --layers 10 --condition
polyvae sample runs/codes --temperature 0.9"""
RUN = [
    Option("run", None, read_path, "DIR", "the folder of a vector-quantised run"),
    Option("resume", "--resume", None, "", "go on with DIR/prior as if it had not stopped; --epochs may rise", False),
    Option("data_dir", "--data-dir", read_path, "PATH", "where the data lie now, in DIR/NAME", None),
    Option("json", "--json", None, "", "print the result as one JSON document", False),
]


def groups_of() -> dict[str, list[Option]]:
    """The options by group."""
    settings = settings_options()
    taken = {option.flag for option in (*RUN, *settings)}
    return {
        "what it works on": RUN[:1],
        "the prior": recipe_options("pixel_cnn", taken),
        "how it is trained": settings,
        "how": RUN[1:],
    }


def run(name: str, arguments: Sequence[str]) -> None:
    """The command."""
    groups = groups_of()
    settings = groups["how it is trained"]
    parser = Parser("polyvae train-prior", "polyvae train-prior DIR [options]", TEXT, EXAMPLE, FORMER)
    for title, options in groups.items():
        parser.add(title, options)
    found = parser.read(arguments)
    given = {option.name: found[option.key] for group in groups.values() for option in group if option.key in found}
    chosen = settings_of({}, {option.name: given[option.name] for option in settings if option.name in given}, settings)
    folder, resume, as_json = given.pop("run"), given.pop("resume", False), given.pop("json", False)
    check_machine(chosen)
    made = _train(folder, resume, given.pop("data_dir", None), given, [*groups["the prior"], *settings])
    _report(folder, made, as_json)


def _train(folder: Path, resume: bool, data_dir: Path | None, given: dict[str, Any], options: Sequence[Option]) -> Run:
    from polyvae.training.second_stage import (  # the slowest import of all: after every mistake in the line
        PRIOR,
        train_prior,
    )

    place, line = folder / PRIOR, shlex.quote(str(folder))
    if not resume and (place / DESCRIPTION).exists():
        raise RunError(f"{place} already holds a learned prior; add --resume to go on with it, or remove it")
    if resume and not (place / DESCRIPTION).exists():
        raise RunError(f"{place} holds no learned prior to go on with; leave --resume away to train one")
    found = opened(folder, data_dir)
    print(f"{'going on with' if resume else 'training in'} {place}: codes of {found.data.name}", file=sys.stderr)
    try:
        with naming(options):
            return train_prior(found.run, found.data, resume=resume, progress=True, **given)
    except KeyboardInterrupt:
        if (place / STATE).exists():
            raise KeyboardInterrupt(f"interrupted; go on with `polyvae train-prior {line} --resume`") from None
        raise


def _report(folder: Path, made: Run, as_json: bool) -> None:
    best = max(made.history, key=lambda row: row["validation_bound"], default={})
    net = next(iter(made.model.prior.values())).net
    places = net.shape[0] * net.shape[1]  # pyright: ignore
    result = {
        "run": str(folder),
        "prior": str(made.folder),
        "epochs": len(made.history),
        "best_epoch": best.get("epoch"),
        "codes": net.codes,  # pyright: ignore
        "places": places,
        "uniform_nats": places * log(net.codes),  # pyright: ignore
        "learned_nats": None if not best else -best["validation_bound"],
    }
    if as_json:
        print(json.dumps(printable(result)))
        return
    print(f"prior: {made.folder}")
    if best:
        print(f"best epoch: {best['epoch']} of {len(made.history)}")
        print(
            f"codes of the validation part: {result['learned_nats']:.2f} nats an example, "
            f"{result['uniform_nats']:.2f} were they equally probable"
        )
    print(f"next: polyvae evaluate {shlex.quote(str(folder))}")
