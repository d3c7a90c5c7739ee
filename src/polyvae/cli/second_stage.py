"""What `polyvae train-prior` and `polyvae fit-prior` do once their line is read."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from polyvae.cli.fitting import check_machine, in_vain, settings_of
from polyvae.cli.options import Option, naming
from polyvae.cli.printing import console, printable, stacked
from polyvae.cli.prior import LEVEL
from polyvae.cli.runs import Opened, opened
from polyvae.evaluation.tables import number
from polyvae.training.run import Run
from polyvae.training.run_folder import begun
from polyvae.training.store import DESCRIPTION, STATE, RunError

T = TypeVar("T")
LOST = 0.05  # nats of the bound, from which on it is said that a fitted prior costs some
# What else gives some of it back. Of a VampPrior fewer pseudo-inputs, posteriors all of them, cost more still.
FEWER = {"mixture": "fewer --components, or "}


def train(given: dict[str, Any], settings: Sequence[Option], options: Sequence[Option]) -> None:
    """Trains the prior of codes that a line asks for, whose values are given by keyword, and tells how good it is."""
    check_settings(given, settings)
    folder, resume, as_json = given.pop("run"), given.pop("resume", False), given.pop("json", False)
    again = f"polyvae train-prior {shlex.quote(str(folder))}"

    def trained(found: Opened) -> dict[str, Run]:
        from polyvae.training.second_stage import train_prior
        from polyvae.training.second_stage.codes import chosen_levels

        with naming(options):
            made = train_prior(found.run, found.data, level=level, resume=resume, progress=True, **given)
            return made if isinstance(made, dict) else {chosen_levels(found.run, level)[0]: made}

    level = given.pop("level", None)
    made, found = _in_place(folder, given.pop("data_dir", None), resume, again, "codes", trained, level)
    _report_codes(folder, made, len(found.run.model.prior) > 1, as_json)


def fit(given: dict[str, Any], settings: Sequence[Option], options: Sequence[Option], judging: Sequence[str]) -> None:
    """Fits the prior of a vector that a line asks for, and tells bounds and distances before and after."""
    check_settings(given, settings)
    folder, resume, as_json = given.pop("run"), given.pop("resume", False), given.pop("json", False)
    kind, asked = given.pop("prior"), {name: given.pop(name) for name in judging if name in given}
    again = f"polyvae fit-prior {shlex.quote(str(folder))} {kind}"

    def fitted(found: Opened) -> Run:
        from polyvae.training.second_stage import fit_prior

        with naming(options):
            return fit_prior(found.run, found.data, kind, resume=resume, progress=True, **given)

    made, found = _in_place(folder, given.pop("data_dir", None), resume, again, "latents", fitted)
    if made.recipe.solve is not None and (vain := in_vain(given, settings)):
        print(f"polyvae: note: a {kind} is fitted at once, {vain} changed nothing", file=sys.stderr)
    _report_latents(folder, kind, made, found, {**asked, "seed": given.get("seed", 0)}, as_json)


def check_settings(given: dict[str, Any], settings: Sequence[Option]) -> None:
    """Refuses settings that are bad, and what this machine has not."""
    chosen = settings_of({}, {option.name: given[option.name] for option in settings if option.name in given}, settings)
    check_machine(chosen)


def _in_place(
    folder: Path,
    data_dir: Path | None,
    resume: bool,
    again: str,
    what: str,
    fitted: Callable[[Opened], T],
    level: str | None = None,
) -> tuple[T, Opened]:
    """The prior's run, or runs, made in the folder `prior` of the run's, and the run; `again`: the command for it."""
    # The slowest imports of all: after every mistake in the line.
    from polyvae.training.second_stage import PRIOR
    from polyvae.training.second_stage.codes import chosen_levels
    from polyvae.training.second_stage.kept import check_going_on, levels_in, place_of
    from polyvae.training.second_stage.latents import vectors_of

    there = levels_in(folder / PRIOR)
    if not resume and level is None and any(map(begun, there)):
        raise RunError(f"{folder / PRIOR} already holds a learned prior; add --resume to go on with it, or remove it")
    if resume and not any((place / DESCRIPTION).exists() for place in there):
        raise RunError(f"{folder / PRIOR} holds no learned prior to go on with; leave --resume away to train one")
    found = opened(folder, data_dir, several=what == "latents")
    for place in filter(begun, there) if resume else ():
        check_going_on(found.run, place)
    places = [folder / PRIOR]
    if what == "latents":
        vectors_of(found.run)  # or what it has none of is said first
    else:
        with naming([LEVEL]):
            places = [place_of(found.run, name) or folder for name in chosen_levels(found.run, level)]
    if not resume and (held := list(filter(begun, places))):
        raise RunError(f"{held[0]} already holds a learned prior; add --resume to go on with it, or remove it")
    place = ", then ".join(map(str, places))
    print(f"{'going on with' if resume else 'training in'} {place}: {what} of {found.data.name}", file=sys.stderr)
    try:
        return fitted(found), found
    except KeyboardInterrupt:
        if any((place / STATE).exists() for place in places):
            raise KeyboardInterrupt(f"interrupted; go on with `{again} --resume`") from None
        raise


def _report_codes(folder: Path, made: Mapping[str, Run], several: bool, as_json: bool) -> None:
    """What the codes cost; of several maps that of each, and together where all are there."""
    told = {name: _cost(run) for name, run in made.items()}
    result: dict[str, Any] = {"run": str(folder), **next(iter(told.values()))}
    if several:
        sums = {each: sum(one[each] or 0.0 for one in told.values()) for each in ("uniform_nats", "learned_nats")}
        result = {"run": str(folder), "levels": told, **sums}
    if as_json:
        print(json.dumps(printable(result)))
        return
    for name, one in told.items():
        print(f"prior: {one['prior']}")
        if one["best_epoch"] is not None:
            print(f"best epoch: {one['best_epoch']} of {one['epochs']}")
            print(f"{f'{name} ' if several else ''}codes of the validation part: {_nats(one)}")
    if len(told) > 1:
        print(f"together: {_nats(result)}")
    print(f"next: polyvae evaluate {shlex.quote(str(folder))}")


def _cost(made: Run) -> dict[str, Any]:
    best = max(made.history, key=lambda row: row["validation_bound"], default={})
    net = next(iter(made.model.prior.values())).net
    places = net.shape[0] * net.shape[1]  # pyright: ignore
    return {
        "prior": str(made.folder),
        "epochs": len(made.history),
        "best_epoch": best.get("epoch"),
        "codes": net.codes,  # pyright: ignore
        "places": places,
        "uniform_nats": places * log(net.codes),  # pyright: ignore
        "learned_nats": None if not best else -best["validation_bound"],
    }


def _nats(cost: Mapping[str, Any]) -> str:
    return f"{cost['learned_nats']:.2f} nats an example, {cost['uniform_nats']:.2f} were they equally probable"


def _report_latents(folder: Path, kind: str, made: Run, found: Opened, asked: dict[str, Any], as_json: bool) -> None:
    from polyvae.training.second_stage import with_prior
    from polyvae.training.second_stage.judged import judged

    print("judging it: bounds, and distances of samples, with the own and the fitted prior", file=sys.stderr)
    runs = {"own": found.run, "fitted": with_prior(found.run, made)}
    told = judged(runs, found.data, **asked, cache=folder)
    result = {
        "run": str(folder),
        "prior": str(made.folder),
        "kind": kind,
        "epochs": len(made.history),
        "best_epoch": made.best_epoch,
        "components": made.history[-1].get("components"),
        **told,
    }
    if as_json:
        print(json.dumps({name: printable(value) for name, value in result.items()}))
        return
    print(f"prior: {made.folder}")
    if made.best_epoch:
        print(f"best epoch: {made.best_epoch} of {len(made.history)}")
    if result["components"] is not None:
        print(f"components: {result['components']}")
    print_judged(kind, result)
    drawn = not found.several or any(len(spec.x) == 3 for spec in found.specs.values())
    print(f"next: polyvae {'sample' if drawn else 'evaluate'} {shlex.quote(str(folder))}")


def print_judged(kind: str, told: Mapping[str, Any]) -> None:
    """The bounds and distances with the own and the fitted prior, and what they say of it."""
    own, fitted = (printable(told[name]) for name in ("own", "fitted"))
    columns = [("plain bound, nats", "bound"), (f"importance-weighted, K = {told['samples']}", "importance_bound")]
    distances = own["frechet"] if isinstance(own["frechet"], Mapping) else {}
    columns += [(f"Fréchet distance, {name}", name) for name in distances]
    columns += [("Fréchet distance", "frechet")] if own["frechet"] is not None and not distances else []
    shown = Table("prior", title_justify="left")
    for heading, _ in columns:
        shown.add_column(heading, justify="right")
    if "coherence" in own:
        shown.add_column("drawn together, one class", justify="right")
    for label, row in (("own", own), (kind, fitted)):
        values = {**row, **(row["frechet"] if distances else {})}
        cells = [number(values[key], 2 if key.endswith("bound") else 3) for _, key in columns]
        together = [f"{100 * row['coherence']:.1f} ± {100 * row['error']:.1f} %"] if "coherence" in row else []
        shown.add_row(label, *cells, *together)
    screen = console()
    for each in stacked(shown, screen.width):
        screen.print(each)
    drawn = f", {told['frechet_samples']:,} samples" if told["frechet_samples"] else ""
    print(f"on {told['examples']:,} examples{drawn}")
    if "real" in told:
        print(f"of real rows {100 * told['real']:.1f} % show one class by the same judges")
    if fitted["bound"] is None:
        print("no bound: the posterior is a point, its divergence from any prior is infinite")
    elif (lost := own["bound"] - fitted["bound"]) >= LOST and fitted["importance_bound"] <= own["importance_bound"]:
        fewer = FEWER.get(kind, "") if (told.get("components") or 2) > 1 else ""
        print(f"the bound is {lost:.1f} nats lower with it: {fewer}--code-prior own, which leaves it out")
