"""Measures the recipes' cards: python examples/cards.py [NAME ...], all of them where none is named.

Each recipe is trained as its card says, in a folder of its own. A row of results/cards.csv holds its bounds and error
on the test part, docs/images/cards/NAME.png eight samples.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "making"))

from cards import MEASURED, PICTURES, Card, cards, measured  # noqa: E402

import polyvae as pv  # noqa: E402
from polyvae.data.files.writing import replacing  # noqa: E402
from polyvae.figures.pixels import save_montage  # noqa: E402

SAMPLES = 500
COLUMNS = ("recipe", "data", "epochs", "seed", "samples", "bound", "importance_bound", "given", "mse")


def main(names: list[str]) -> None:
    """Measures the cards of that name and puts their rows among the others."""
    known = cards()
    rows = {name: row for name, row in measured().items() if name in known} if MEASURED.exists() else {}
    for name in names or known:
        rows[name] = measure(known[name])
        print(rows[name], flush=True)
        with replacing(MEASURED) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows[name] for name in known if name in rows)


def measure(card: Card) -> dict[str, Any]:
    """A card's row; draws its picture."""
    found: dict[str, Any] = {"pv": pv}
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(card.python, found)
        finally:
            os.chdir(home)
    run, data = found["run"], found["data"]
    split = data.test if len(data.test) else data.validation
    report = pv.evaluate(run, split, samples=SAMPLES)
    if len(data.spec.x) == 3:
        path = ROOT / "docs" / PICTURES / f"{card.name}.png"
        path.parent.mkdir(exist_ok=True)
        save_montage(path, pv.figures.samples(run, split, 1, 10).pictures, scale=6)
    told = {
        name: "" if report.get(name) is None else f"{report[name]:.5g}" for name in ("bound", "importance_bound", "mse")
    }
    about = {"recipe": card.name, "data": card.data, "epochs": card.epochs, "seed": 0, "samples": SAMPLES}
    return {**about, **told, "given": ", ".join(report.get("given") or ())}


if __name__ == "__main__":
    main(sys.argv[1:])
