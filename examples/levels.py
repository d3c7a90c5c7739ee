"""VQ-VAE-2 beside VQ-VAE at equal bits and as many parameters: error, bits, rate with learned priors, use of the words.

Trains each entry of RUNS and PixelCNNs over its codes for every seed, keeps one row a run in a CSV file, and draws
reconstructions and samples of the first seed. Run again, it goes on where it was; `--only` names the entries to train.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from math import log, log2
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import torch

import polyvae as pv
from polyvae.training.second_stage import sharpened, train_prior, with_prior

# Recipe and options. Of 28 x 28 pixels: 49 places of 9 bits; of 8 bits, and 16 of 3; of 7 bits, and 16 of 6. Of 32 x 32
# pixels: 64 places of 9 bits; of 8 bits, and 16 of 4.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "one map, 512": ("vq_vae", {"codes": 512, "blocks": 2}),
    "two maps, 256 and 8": ("vq_vae_2", {"codes": 256, "codes_above": 8, "blocks": 1}),
    "two maps, 128 and 64": ("vq_vae_2", {"codes": 128, "codes_above": 64, "blocks": 1}),
    "two maps, 256 and 16": ("vq_vae_2", {"codes": 256, "codes_above": 16, "blocks": 1}),
}


def measured(name: str, seed: int, data: pv.data.Data, asked: argparse.Namespace) -> dict[str, Any]:
    """One row of the table, kept beside the run."""
    folder = asked.runs / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    kept = folder / "row.json"
    if kept.exists():
        return json.loads(kept.read_text())
    recipe, options = RUNS[name]
    made = pv.recipes.named(recipe)(data, widths=(32, 64), likelihood=asked.likelihood, seed=seed, **options)
    begun = process_time()
    how: dict[str, Any] = {"batch_size": asked.batch_size, "seed": seed, "resume": True}
    run = pv.fit(made, data, folder, epochs=asked.epochs, lr=asked.lr, **how)
    seconds = process_time() - begun
    report = pv.evaluate(run, data.test, samples=1)
    words = {each: held["codebook"] for each, held in report["latents"].items()}
    row: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "parameters": report["parameters"],
        "mse": report["mse"],
        "bits": sum(each["positions"] * log2(each["size"]) for each in words.values()),
        "perplexity": " ".join(f"{each['perplexity']:.0f}" for each in words.values()),
        "cpu_seconds": seconds,
        "best_epoch": run.best_epoch,
    }
    if asked.prior_epochs:
        sizes = {"layers": asked.layers, "channels": asked.channels, "kernel_size": 3}
        how = {**how, "resume": (folder / "prior").exists()}
        train_prior(run, data, epochs=asked.prior_epochs, lr=2e-3, **sizes, **how)
        learned = with_prior(run)
        latents = pv.evaluate(learned, data.test, samples=1)["latents"]
        row |= {"rate": sum(each["kl"] for each in latents.values()) / log(2)}
        row |= {"rates": " ".join(f"{each['kl'] / log(2):.0f}" for each in latents.values())}
    kept.write_text(json.dumps(row, indent=2) + "\n")
    if seed == asked.seeds[0]:
        drawn(with_prior(run) if asked.prior_epochs else run, data, asked.out / f"{data.name}-{folder.name}")
    return row


def drawn(run: pv.Run, data: pv.data.Data, place: Path) -> None:
    """Reconstructions, from the highest map alone where there are several, and samples."""
    figures: dict[str, Any] = {"reconstructions": pv.figures.reconstructions(run, data.test, 12)}
    if len(run.model.prior) > 1:
        figures = {"levels": pv.figures.levels(run, data.test, 12)}
    learned = any(isinstance(prior, pv.priors.PixelCNNPrior) for prior in run.model.prior.values())
    figures["samples"] = pv.figures.samples(sharpened(run, 0.9) if learned else run, None, 4, 12)
    for name, figure in figures.items():
        pv.figures.draw(figure, place.with_name(f"{place.name}-{name}.png"))


def told(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, means and standard deviations over seeds."""
    lines = [
        "| codes | parameters | bits, at most | squared error | bits, learned priors | perplexity | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        cells = [name, f"{mine[0]['parameters']:,}", f"{mine[0]['bits']:.0f}"]
        cells += [_spread([row["mse"] for row in mine], 5), _spread([row["rate"] for row in mine if "rate" in row], 1)]
        cells += [mine[0]["perplexity"], f"{mean(row['cpu_seconds'] for row in mine):.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "–"
    shown = f"{mean(values):.{digits}f}"
    return shown if len(values) == 1 else f"{shown} ± {stdev(values):.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="pictures, by name or path")
    parser.add_argument("--limit", type=int, default=3_000, help="pictures in all")
    parser.add_argument("--likelihood", default="normal")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--prior-epochs", type=int, default=6, help="of the PixelCNNs; 0 for none")
    parser.add_argument("--layers", type=int, default=4, help="of a PixelCNN")
    parser.add_argument("--channels", type=int, default=32, help="of its layers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[*RUNS], choices=[*RUNS], metavar="NAME", help=f"of {[*RUNS]}")
    parser.add_argument("--runs", type=Path, default=Path("runs/levels"), help="the folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("results/levels"), help="where rows and figures are kept")
    asked = parser.parse_args(arguments)

    data = pv.data.load(asked.data, limit=asked.limit)
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = [measured(name, seed, data, asked) for seed in asked.seeds for name in asked.only]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (asked.out / f"{data.name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(data.train):,} pictures to train on, {len(data.test):,} to test\n\n{told(rows)}")
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
