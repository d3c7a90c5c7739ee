"""Does a classifier learn more from pictures that a CVAE draws beside the real ones? MNIST, few real pictures a class.

For each number of real pictures a class and each seed: that many are drawn from MNIST's training part, a CVAE is
trained on them alone, and the same classifier is trained for the same number of steps on the real pictures, half of
every batch taken from elsewhere: from the CVAE (prior, posterior about a real picture, interpolation between two of a
class), from the real pictures shifted and turned at random, which is what an expert does, or from those and the CVAE's.
Errors are of MNIST's 10,000 test pictures; differences are paired over the seeds, with a 95 % interval (Student's).
A row of results.csv in --out stands for one classifier; what is there is not computed again. table.md beside it is of
all rows.

python examples/augment.py --out results/augment
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.data.files.writing import held, replacing, write_text
from polyvae.data.split import Split
from polyvae.evaluation.classifier import Classifier, accuracy, moved
from polyvae.study.statistics import interval, paired

COLUMNS = ("real", "seed", "extra", "error")
REAL = (10, 50, 250)
DRAWN = 500  # pictures a class that the CVAE draws
CVAE = {"latent": 16, "network": "mlp", "widths": (512, 256)}
STEPS = {"cvae": 600, "classifier": 400}
BATCH = 64
Extra = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


def few(train: Split, per_class: int, seed: int) -> Split:
    """So many pictures of each class, drawn at random."""
    draws, y = torch.Generator().manual_seed(seed), train.tensors["y"]
    chosen = [(y == k).nonzero()[:, 0] for k in range(int(y.max()) + 1)]
    index = torch.cat([each[torch.randperm(len(each), generator=draws)[:per_class]] for each in chosen])
    values = train.batch(index)
    return Split({"x": values["x"], "y": values["y"]})


def extras(run: pv.Run, real: Split, seed: int) -> dict[str, Extra]:
    """What half of a batch is taken from, by name: of a batch of real numbers to pictures and labels."""
    x, y = real.tensors["x"], real.tensors["y"]

    def of(split: Split, move: bool = False) -> Extra:
        def extra(index: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
            chosen = torch.randint(len(split), (len(index),), generator=draws)
            pictures = split.tensors["x"][chosen]
            return moved(pictures, draws) if move else pictures, split.tensors["y"][chosen]

        return extra

    def drawn(how: Any, **options: Any) -> Split:
        return pv.augment(run, real, DRAWN, how, seed=seed, **options)

    about = drawn("posterior")
    again = torch.arange(len(about)) % len(x)
    pictures, labels = torch.cat([about.tensors["x"], x[again]]), torch.cat([about.tensors["y"], y[again]])
    both = Split({"x": pictures, "y": labels})
    return {
        "nothing": of(real),
        "prior": of(drawn("prior")),
        "posterior": of(about),
        "interpolation": of(drawn("interpolation")),
        "moved": of(real, move=True),
        "moved and posterior": of(both, move=True),
    }


def error(real: Split, extra: Extra, test: Split, seed: int) -> float:
    """The share of test pictures that a classifier gets wrong, trained on batches half real and half extra."""
    x, y = real.tensors["x"], real.tensors["y"]
    torch.manual_seed(seed)
    made, draws = Classifier(1, 10), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(made.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS["classifier"])
    for _ in range(STEPS["classifier"]):
        index = torch.randint(len(x), (BATCH // 2,), generator=draws)
        more, labels = extra(index, draws)
        optimiser.zero_grad()
        nn.functional.cross_entropy(made(torch.cat([x[index], more])), torch.cat([y[index], labels])).backward()
        optimiser.step()
        schedule.step()
    return 1 - accuracy(made, test)


def generator(real: Split, seed: int) -> pv.Run:
    """A CVAE trained on the real pictures alone, a tenth of them held out to choose the best epoch."""
    held = torch.arange(len(real)) % 10 == 0
    parts = [{name: value[rows] for name, value in real.tensors.items()} for rows in (~held, held)]
    data = pv.data.wrap(parts[0], validation=parts[1])
    recipe = pv.recipes.cvae(data, seed=seed, **CVAE)
    batches = -(-len(data.train) // BATCH)
    return pv.fit(recipe, data, epochs=-(-STEPS["cvae"] // batches), batch_size=BATCH, seed=seed, progress=False)


def study(out: Path, seeds: int, numbers: Sequence[int]) -> None:
    """Adds to results.csv what is missing there; another process may add to it meanwhile."""
    path, data = out / "results.csv", pv.data.load("mnist")
    out.mkdir(parents=True, exist_ok=True)
    for seed, number in product(range(seeds), numbers):
        if any((row["real"], row["seed"]) == (str(number), str(seed)) for row in read(path)):
            continue
        real = few(data.train, number, seed)
        found = {
            name: error(real, extra, data.test, seed)
            for name, extra in extras(generator(real, seed), real, seed).items()
        }
        made = [(str(number), str(seed), name, f"{value:.4f}") for name, value in found.items()]
        print(*made, sep="\n", flush=True)
        with held(out / ".lock"):
            rows = [row for row in read(path) if (row["real"], row["seed"]) != (str(number), str(seed))]
            rows += [dict(zip(COLUMNS, row, strict=True)) for row in made]
            with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(rows: Sequence[dict[str, str]]) -> str:
    """Errors in percent, and by how much each differs from the real pictures alone and from those moved."""
    errors: dict[tuple[str, str], dict[int, float]] = {}
    for row in sorted(rows, key=lambda row: int(row["real"])):
        errors.setdefault((row["real"], row["extra"]), {})[int(row["seed"])] = 100 * float(row["error"])
    heads = ("real a class", "beside them", "error, %", "against real alone", "against moved")
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --- | --- | --- |"]
    for (real, extra), mine in errors.items():
        all_ = interval(mine.values())
        others = {other: errors.get((real, other), {}) for other in ("nothing", "moved")}
        beside = [_signed(mine, theirs) if extra != other else "" for other, theirs in others.items()]
        lines.append(f"| {real} | {extra} | {all_.mean:.2f} ± {all_.sd:.2f} | {beside[0]} | {beside[1]} |")
    return "\n".join(lines) + "\n"


def _signed(mine: Mapping[int, float], other: Mapping[int, float]) -> str:
    found = interval(paired(mine, other))
    return f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/augment"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--real", type=int, nargs="+", default=REAL)
    asked = parser.parse_args()
    study(asked.out, asked.seeds, asked.real)
    made = table(read(asked.out / "results.csv"))
    write_text(asked.out / "table.md", made)
    print(made)


if __name__ == "__main__":
    main()
