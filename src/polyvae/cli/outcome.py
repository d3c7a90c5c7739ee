"""What `polyvae train` says of a run when it is done: its best epoch, what its bound is worth, and what to do next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from polyvae.cli.printing import printable
from polyvae.completion.masked import masked
from polyvae.data.readers.paths import TABLES
from polyvae.training.run import Run

# Of a closed form that completes: see docs/fields.md.
NO_MEASURE = "the bound is no measure here: each value has a scale of its own, and no error is shared"


def report(made: Run, as_json: bool) -> None:
    """Prints the run, its best epoch and what to do next."""
    name, best = f"validation_{made.monitor}", made.best or {}
    result = {
        "run": str(made.folder),
        "recipe": made.description["recipe"],
        "epochs": len(made.history),
        "best_epoch": best.get("epoch"),
        name: best.get(name),
        "best": best,
    }
    if as_json:
        print(json.dumps(printable(result)))
        return
    print(f"run: {made.folder}")
    if best:
        of = f"best epoch: {best['epoch']} of {len(made.history)}\n" if best["epoch"] else ""
        unit = "nats an example on the validation part"
        print(f"{of}{made.monitor_words}: {best[name]:.3f} {unit}{_advice(made)}")
    place, call = shlex.quote(str(made.folder)), made.description["data"]["call"]
    if made.recipe.solve is not None and made.model.conditions:
        between = masked(made).sensors is not None  # readings, which pv.complete takes
        print(NO_MEASURE + f"; `polyvae complete {place}` tells errors and bands" * (not between))
    print(f"next: polyvae evaluate {place}")
    if made.spec is not None and made.spec.modalities:
        print(f"next: polyvae translate {place} --from {made.spec.modalities[0].name}")
    fills = any(getattr(head, "where", None) == "seen" for head in getattr(made.model, "heads", {}).values())
    if fills and call.get("gaps") and Path(call["name"]).suffix.lower() in TABLES:
        print(f"next: polyvae impute {place} {shlex.quote(call['name'])}")


def _advice(made: Run) -> str:
    """What the place of the best epoch says of how long to train."""
    best, last, settings = made.best_epoch or 0, len(made.history), made.description["settings"]
    if best == last and settings["schedule"] == "constant" and settings["max_steps"] is None:
        line, minutes = shlex.quote(str(made.folder)), settings.get("minutes")
        more = f"--epochs {2 * last}" if minutes is None or last >= settings["epochs"] else f"--minutes {2 * minutes:g}"
        return f"\nthe last epoch is the best yet: polyvae train --resume --run {line} {more} goes on"
    if 0 < 2 * best < last and settings["patience"] is None:
        return f"\nwhat came after epoch {best} was no better: --patience {max(5, best // 2)} stops earlier"
    return ""
