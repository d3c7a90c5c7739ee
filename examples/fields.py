"""Complete a flow from 3, 5 and 10 sensors, clean and with 5 % noise: two autoencoders beside three baselines.

Gappy PCA, the best linear completion, and Gaussian processes from the sensors to the principal coefficients.

The wake of a cylinder where its file is at hand (about ten minutes on two cores), else travelling vortices, which are
generated; or fields of your own, --data FILE.npz. Held out are whole blocks of time. Sensors measure every channel and
stand where pivoted QR of the principal axes puts them, the same for all methods; noise is 5 % of a channel's standard
deviation. Written to --out: results.csv, results.md and figures.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

import fields_figures
from fields_methods import METHODS, Case
from fields_scores import Field, Predictions, Trial, score

import polyvae as pv

OWN = Case()
MANY = Case(150, (256, 256, 256), 30, 8, steps=3_000, batch=256, lr=2e-3, passes=1, draws=20, group=30)
CASES = {
    "cylinder_flow": OWN,
    "vortices": MANY,
    "turbulence": MANY,
}
NOISE_DRAWS = {
    "vortices": 1,
    "turbulence": 1,
}  # of the sensors' noise in scoring, where the held-out parts are large; elsewhere 5
QUICK = {"steps": 20, "draws": 4, "hidden": (16,), "modes": 8, "group": 8}
BASELINE, STRONGEST = "gappy PCA", "Gaussian process"  # what errors are set beside
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="cylinder_flow", help="cylinder_flow, vortices, turbulence or a file of fields, .npz"
    )
    parser.add_argument("--sensors", type=int, nargs="+", default=[3, 5, 10], help="how many, one comparison each")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.05], help="in standard deviations")
    parser.add_argument("--splits", type=int, default=1, help="ways to hold out blocks, one after another")
    parser.add_argument("--limit", type=int, help="training fields, fewer than there are")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="those that are run")
    parser.add_argument("--resume", action="store_true", help="go on: run what results.csv has no row of")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("runs/fields"), help="the folder of results and figures")
    asked = parser.parse_args(arguments)

    data = load(asked.data, 0, asked.limit)
    folder, case = asked.out / Path(data.name).stem, CASES.get(data.name, OWN)
    case = replace(case, **QUICK) if asked.quick else case
    folder.mkdir(parents=True, exist_ok=True)
    whole = set(asked.methods) == set(METHODS) and not asked.resume
    again = [(split, count, noise) for split in range(asked.splits) for count in asked.sensors for noise in asked.noise]
    anew = set() if asked.resume else {(*case, name) for case in again for name in asked.methods}
    rows = [] if whole else read(folder / "results.csv", anew)
    held = {(*place_of(row)[:3], row["method"]) for row in rows}
    lacking = [(*case, name) for case in again for name in (BASELINE, STRONGEST) if name not in asked.methods]
    if missing := [case for case in lacking if case not in held]:
        names, (split, count, noise, _) = sorted({case[3] for case in missing}), missing[0]
        parser.error(
            f"every row is set beside {' and '.join(names)}; {folder}/results.csv has none of split {split}, {count} "
            f"sensors, noise {noise:g}: add to --methods"
        )
    for split in range(asked.splits):
        data = load(asked.data, split, asked.limit) if split else data
        field = Field.of(data)
        sizes = ", ".join(f"{len(field.x(part))} {part}" for part in ("train", "validation", "test"))
        print(f"{data.name} {list(data.spec.x)}, split {split}: {sizes}")
        for count in asked.sensors:
            for noise in asked.noise:
                done = {row["method"] for row in rows if place_of(row)[:3] == (split, count, noise)}
                if not (names := [name for name in asked.methods if name not in done]):
                    continue
                trial = Trial.of(field, count, noise, NOISE_DRAWS.get(data.name, 5))
                found = compared(trial, case, split, rows, names)
                rows.sort(key=place_of)
                write(folder / "results.csv", rows)
                if set(names) == set(METHODS) and split == 0 and noise == max(asked.noise):
                    draw(folder, trial, found)
    (folder / "results.md").write_text("\n".join(table(rows)) + "\n")
    fields_figures.errors(
        folder / "errors.png", rows, f"{data.name}: mean of {len({row['split'] for row in rows})} splits"
    )
    print(*table(rows), f"\nFigures and results: {folder}", sep="\n")


def load(name: str, seed: int, limit: int | None) -> pv.data.Data:
    """The data set, or the vortices where the cylinder's file cannot be had."""
    try:
        return pv.data.load(name, seed=seed, limit=limit)
    except pv.data.DataError as error:
        if name != "cylinder_flow":
            raise
        print(f"{error}\nTaking the vortices instead.")
        return pv.data.load("vortices", seed=seed, limit=limit)


def compared(trial: Trial, case: Case, split: int, rows: list[Row], methods: Sequence[str]) -> dict[str, Predictions]:
    """What every method says, and a row of its scores."""
    found = {}
    for name in [name for name in METHODS if name in methods]:
        made = METHODS[name](trial, case)
        if made is None:
            continue
        found[name] = made
        known = {"split": split, "sensors": len(trial.positions), "noise": trial.noise, "method": name}
        rows.append({**known, **asdict(score(trial, found[name]))})
        print(
            f"  {len(trial.positions):2d} sensors, noise {trial.noise:.0%}, {name}: {rows[-1]['error']:.5f}", flush=True
        )
    return found


def draw(folder: Path, trial: Trial, found: Mapping[str, Predictions]) -> None:
    """A moment and a place, completed from as many sensors."""
    count, (ours, shown) = len(trial.positions), list(found.items())[-1]
    seen = f"{count} sensors, noise {trial.noise:.0%}" if trial.noise else f"{count} sensors, clean"
    place = len(trial.field.x("test")) // 2
    fields_figures.maps(folder / f"maps_{count}.png", trial, shown, found[BASELINE], f"{ours}, {seen}", place)
    both = {BASELINE: found[BASELINE], ours: shown}
    fields_figures.band(folder / f"band_{count}.png", trial, both, seen)


def table(rows: Sequence[Row]) -> list[str]:
    """Means over splits as Markdown: errors and scores beside both baselines', coverage and its range over splits."""
    beside = f"to {BASELINE} | to {STRONGEST}"
    lines = [
        f"| sensors | noise | method | relative error | {beside} | CRPS | {beside} | coverage of 95 % bands |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["sensors"], row["noise"], row["method"]), []).append(row)
    for (count, noise, method), mine in groups.items():
        shown = []
        for quantity in ("error", "crps"):
            splits = {row["split"] for row in mine}
            value, *theirs = (
                mean(row[quantity] for row in groups[count, noise, name] if row["split"] in splits)
                for name in (method, BASELINE, STRONGEST)
            )
            shown += [f"{value:.5f}", *(f"{value / other:.2f}" for other in theirs)]
        ends = [f"{100 * end(row['coverage'] for row in mine):.1f}" for end in (min, max)]
        among = f" ({ends[0]} to {ends[1]})" if len(mine) > 1 else ""
        covered = f"{100 * mean(row['coverage'] for row in mine):.1f} %{among}"
        lines.append(f"| {' | '.join([str(count), f'{noise:.0%}', method, *shown, covered])} |")
    return lines


def place_of(row: Row) -> tuple:
    """Where a row stands among all."""
    return row["split"], row["sensors"], row["noise"], list(METHODS).index(row["method"])


def read(path: Path, but: Collection[tuple]) -> list[Row]:
    """The rows of an earlier run, without those `but` of a split, number of sensors, noise and method; none where there
    is no file."""
    if not path.is_file():
        return []
    known: dict[str, Any] = {"split": int, "sensors": int, "method": str}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: known.get(name, float)(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [row for row in rows if (*place_of(row)[:3], row["method"]) not in but]


def write(path: Path, rows: Sequence[Row]) -> None:
    """One line a method, number of sensors, noise and split."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
