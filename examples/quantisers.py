"""Every quantiser of `Codes` on CIFAR-10 at equal networks: use of the words, perplexity, error, bits.

Trains `vq_vae` once for each entry of RUNS, with the same encoder and decoder but for the channels between them, and
prints a Markdown table. Run again, it goes on where it was; `--only` names the entries to train.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from math import log2
from pathlib import Path
from typing import Any

import torch

import polyvae as pv

# About 8 bits a place, or 16 where two integers stand at it.
RUNS: dict[str, dict[str, Any]] = {
    "nearest": {"codes": 256},
    "nearest, ema": {"codes": 256, "codebook": "ema"},
    "nearest, rotation": {"codes": 256, "rotation": True},
    "residual, 2": {"quantiser": "residual", "codes": 256, "depth": 2},
    "grouped, 2": {"quantiser": "grouped", "codes": 256, "depth": 2},
    "finite-scalar, 8 6 5": {"quantiser": "finite-scalar", "levels": (8, 6, 5)},
    "lookup-free, 8 bits": {"quantiser": "lookup-free", "codes": 256},
    "gumbel": {"quantiser": "gumbel", "codes": 256, "anneal": 400},
    "gumbel, hard": {"quantiser": "gumbel", "codes": 256, "anneal": 400, "hard": True},
}
WIDTHS, BLOCKS = (32, 64), 1


def measured(name: str, data: pv.data.Data, asked: argparse.Namespace) -> dict[str, Any]:
    """One row of the table, kept beside the run."""
    folder = asked.out / name.replace(", ", "-").replace(" ", "-")
    kept = folder / "row.json"
    if kept.exists():
        return json.loads(kept.read_text())
    made = pv.recipes.vq_vae(
        data, widths=WIDTHS, blocks=BLOCKS, likelihood="normal-learned", seed=asked.seed, **RUNS[name]
    )
    run = pv.fit(made, data, folder, resume=True, epochs=asked.epochs, lr=asked.lr, seed=asked.seed, batch_size=64)
    report = pv.evaluate(run, data.test, samples=asked.samples)
    words = report["latents"]["z"]["codebook"]
    row = {
        "words": words["size"],
        "places": words["positions"],
        "usage": words["usage"],
        "perplexity": words["perplexity"],
        "mse": report["mse"],
        "capacity": words["positions"] * log2(words["size"]),
        "rate": report["latents"]["z"]["rate_bits"],
        "bits": report["bound_bits"],
        "parameters": report["parameters"],
        "seconds": sum(each["seconds"] for each in run.history),
    }
    kept.write_text(json.dumps(row, indent=2) + "\n")
    return row


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="pictures, by name or path")
    parser.add_argument("--limit", type=int, default=5_000, help="training pictures")
    parser.add_argument("--tested", type=int, default=2_000, help="pictures of the test part, drawn by the seed")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--samples", type=int, default=10, help="draws of the codes that are drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[*RUNS], choices=[*RUNS], metavar="NAME", help=f"of {[*RUNS]}")
    parser.add_argument("--out", type=Path, default=Path("runs/quantisers"))
    asked = parser.parse_args(arguments)

    data = pv.data.load(asked.data, limit=asked.limit)
    generator = torch.Generator().manual_seed(asked.seed)
    chosen = torch.randperm(len(data.test), generator=generator)[: asked.tested].sort().values
    data = pv.data.Data(data.name, data.train, data.validation, data.test.take(chosen), data.spec, data.call)
    rows = {name: measured(name, data, asked) for name in asked.only}
    print(
        "| quantiser | words | places | used | perplexity | squared error | bits a picture, at most | rate | bits/dim |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        figures = f"{row['words']} | {row['places']} | {100 * row['usage']:.0f} % | {row['perplexity']:.0f}"
        error = f"{row['mse']:.5f} | {row['capacity']:.0f} | {row['rate']:.0f} | {row['bits']:.3f}"
        print(f"| {name} | {figures} | {error} |")
    return rows


if __name__ == "__main__":
    main()
