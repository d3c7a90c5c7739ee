"""python -m benchmarks [--rounds 7] [--only training step nll ...] [--out docs/benchmarks.md]"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.interleave import Result

PARTS = ("start", "training", "step", "nll", "masks", "pixelcnn", "quantisers", "completions", "modalities")
SCORES = ("counts",)  # what is compared by its results, not by its speed, and on a page of its own
MODALITIES = """MMVAE is that of the recipe `mmvae` with Laplace laws: a perceptron for MNIST, strided convolutions for
SVHN, 20 latents, K draws of each expert, the doubly reparametrised gradient, batches of 128. multivae trains it by its
own trainer's epochs, without its evaluation and saving; the gradients of both sides at the same weights and draws are
held against each other first. With K = 10 all but a few draws have next to no share in the gradient. polyvae sets such
a share to zero, where multivae's becomes denormal numbers, with which a CPU computes several times slower; with K = 1,
where nothing can be left out, both spend their time in the same convolutions."""
HEADER = ["what", "beside", "unit", "polyvae", "other", "ratio (median)", "over rounds", "bar", "held"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ratios measured side by side in one process."
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds counted, at least 5 for the table; of counts, seeds"
    )
    parser.add_argument("--only", nargs="+", choices=(*PARTS, *SCORES), default=PARTS)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the peer's and its libraries'
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if "counts" in arguments.only:
        from benchmarks.counts import HEADER as HEADINGS
        from benchmarks.counts import counts

        print(" | ".join(HEADINGS))
        for found in counts(arguments.rounds):
            print(" | ".join(found.row()), flush=True)
    results = []
    for result in _results(arguments.only, device, arguments.rounds):
        results.append(result)
        print(" | ".join(result.row()), flush=True)
    pieces = []
    if "step" in arguments.only:
        from benchmarks.step import HEADER as PIECES
        from benchmarks.step import step

        pieces = [PIECES, *step(device, arguments.rounds)]
        print("\n".join(" | ".join(row) for row in pieces), flush=True)
    if arguments.out and results and pieces:
        arguments.out.write_text(_page(results, pieces, device, arguments.rounds), encoding="utf-8")


def _results(chosen: list[str], device: torch.device, rounds: int) -> Iterator[Result]:
    if "start" in chosen:
        from benchmarks.start import start

        yield from start(rounds)
    if "training" in chosen:
        from benchmarks.training import training

        yield from training(device, rounds)
    if "nll" in chosen:
        from benchmarks.nll import nll

        yield nll(device, rounds)
    if "masks" in chosen:
        from benchmarks.masks import masks

        yield from masks(device, rounds)
    if "pixelcnn" in chosen:
        from benchmarks.pixelcnn import pixelcnn

        yield from pixelcnn(device, rounds)
    if "quantisers" in chosen:
        from benchmarks.quantisers import quantisers

        yield from quantisers(device, rounds)
    if "completions" in chosen:
        from benchmarks.completions import completions

        yield from completions(device, rounds)
    if "modalities" in chosen:
        if find_spec("multivae"):
            from benchmarks.modalities import modalities

            yield from modalities(device, rounds)
        else:
            print("modalities left out: multivae is not here, see the extra bench-modalities", file=sys.stderr)


def _page(results: list[Result], pieces: list[list[str]], device: torch.device, rounds: int) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", "src"], capture_output=True, text=True).stdout.strip()
    lines = _table([HEADER, *(result.row() for result in results)])
    named = ["torch", "lightning-fabric", "pythae", *(["multivae"] if find_spec("multivae") else []), "numpy"]
    versions = ", ".join(f"{name} {version(name)}" for name in named)
    return f"""# Benchmarks

`make bench` writes this page. Both sides of a row run in one process, in turn, {rounds} rounds after a warm-up; the
ratio is the median of the rounds' ratios, polyvae's speed over the other's. Single speeds differ from machine to
machine.

{lines}

Machine: {_machine(device)}, Python {platform.python_version()}, {torch.get_num_threads()} threads. {versions}.
Commit {commit}{" with changes" if changed else ""}.

Training is a call of `fit`, validation of 128 pictures included, with batches of 128 and AdamW 1e-3 in float32: one
epoch of 5,120 pictures for the thesis network, four of MNIST's 50,000 for the perceptron. The bare loop
is written out by hand on the same modules in the same memory layout with the same fused optimiser. pythae trains by
its own trainer's epochs, without its evaluation and saving, once around the same layers written plainly in torch and
once around our modules.{_others(results)}

## A step by its pieces

What a step of the perceptron does beyond the bare loop, in microseconds: medians of single calls on MNIST's 50,000,
{rounds} epochs of each in turn. The pass builds and checks distributions, knows which bound they make and reports its
terms, where the bare loop writes one formula down; its Python is paid whatever the size of the network.

{_table(pieces)}
"""


def _others(results: list[Result]) -> str:
    """What is to be said of rows that not every page has."""
    said = {
        "masks": "Masks are drawn by two threads where there is no accelerator; `masks asked for` is a fixed number.",
        "PixelCNN": "PixelCNN samples are drawn with the recipe's default network; of the 784 passes that a binary "
        "picture would need were its whole map computed for each position, 49 are timed.",
        "MMVAE": MODALITIES,
    }
    return "".join(f"\n\n{text}" for name, text in said.items() if any(name in each.what for each in results))


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if cpu.exists()
        else []
    )
    return f"{names[0] if names else platform.processor()}, {len(names) or '?'} cores"


if __name__ == "__main__":
    main()
