"""What `polyvae train-prior` does once its line is read."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

from polyvae.cli.fitting import check_machine, settings_of
from polyvae.cli.options import Option, naming
from polyvae.cli.printing import printable
from polyvae.cli.runs import opened
from polyvae.training.run import Run
from polyvae.training.store import DESCRIPTION, STATE, RunError


def train(given: dict[str, Any], settings: Sequence[Option], options: Sequence[Option]) -> None:
    """Trains the prior that a line asks for, whose values are given by keyword, and tells how good it is."""
    chosen = settings_of({}, {option.name: given[option.name] for option in settings if option.name in given}, settings)
    folder, resume, as_json = given.pop("run"), given.pop("resume", False), given.pop("json", False)
    check_machine(chosen)
    _report(folder, _trained(folder, resume, given.pop("data_dir", None), given, options), as_json)


def _trained(
    folder: Path, resume: bool, data_dir: Path | None, given: dict[str, Any], options: Sequence[Option]
) -> Run:
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
