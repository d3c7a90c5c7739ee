"""What `polyvae fit-completion` does once its line is read."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from polyvae.cli.options import Option, naming
from polyvae.cli.printing import printable
from polyvae.cli.runs import Opened, opened
from polyvae.cli.second_stage import check_settings
from polyvae.training.matching import Matching
from polyvae.training.run import Run
from polyvae.training.run_folder import begun
from polyvae.training.store import DESCRIPTION, STATE, RunError


def fit(given: dict[str, Any], law: Sequence[Option], settings: Sequence[Option]) -> None:
    """Fits the law that a line asks for, whose values are given by keyword, and tells what m says of z by it."""
    check_settings(given, settings)
    folder, resume, as_json = given.pop("run"), given.pop("resume", False), given.pop("json", False)
    made, found = _in_place(folder, given.pop("data_dir", None), resume, given, [*law, *settings])
    _report(folder, made, found, as_json)


def _in_place(
    folder: Path, data_dir: Path | None, resume: bool, given: dict[str, Any], options: Sequence[Option]
) -> tuple[Run, Opened]:
    """The completion's run, made in the folder `completion` of the run's, and the run."""
    # The slowest imports of all: after every mistake in the line.
    from polyvae.training.second_stage import COMPLETION, fit_completion
    from polyvae.training.second_stage.kept import check_going_on
    from polyvae.training.second_stage.matched import check_matched, masks_of

    place = folder / COMPLETION
    if not resume and begun(place):
        raise RunError(f"{place} already holds a completion; add --resume to go on with it, or remove it")
    if resume and not (place / DESCRIPTION).exists():
        raise RunError(f"{place} holds no completion to go on with; leave --resume away to fit one")
    found = opened(folder, data_dir, several=True)
    check_matched(found.run)
    if found.run.spec is not None:
        with naming(options):
            known = [each.name for each in fields(Matching) if each.name in given]
            masks_of(found.run.spec, Matching(**{name: given[name] for name in known}))
    if resume and begun(place):
        check_going_on(found.run, place)
    print(f"{'going on with' if resume else 'training in'} {place}: latents of {found.data.name}", file=sys.stderr)
    print("the bound of an epoch is log q(z | m) of what was drawn from the posteriors", file=sys.stderr)
    try:
        with naming(options):
            return fit_completion(found.run, found.data, resume=resume, progress=True, **given), found
    except KeyboardInterrupt:
        if (place / STATE).exists():
            again = f"polyvae fit-completion {shlex.quote(str(folder))} --resume"
            raise KeyboardInterrupt(f"interrupted; go on with `{again}`") from None
        raise


def _report(folder: Path, made: Run, found: Opened, as_json: bool) -> None:
    from polyvae.training.second_stage.completing import own_nats

    best = made.best or {}
    own, fitted = own_nats(found.run, found.data), best.get("validation_bound")
    result = {
        "run": str(folder),
        "completion": str(made.folder),
        "law": (made.recipe.call or {})["options"]["law"],
        "epochs": len(made.history),
        "best_epoch": best.get("epoch"),
        "own_nats": own,
        "fitted_nats": fitted,
    }
    if as_json:
        print(json.dumps(printable(result)))
        return
    print(f"completion: {made.folder}")
    if fitted is not None:
        print(f"best epoch: {best['epoch']} of {len(made.history)}")
        beside = "" if own is None else f", {own:.2f} by the run's own prior"
        print(f"log q(z | m) of the validation part: {fitted:.2f} nats an example{beside}")
    place = shlex.quote(str(folder))
    if fitted is not None and own is not None and fitted < own and made.history:
        more = f"polyvae fit-completion {place} --resume --epochs {2 * len(made.history)}"
        print(f"polyvae: note: so far it says less of z than the run's own prior; `{more}` goes on", file=sys.stderr)
    print(f"next: polyvae complete {place}")
