"""Every x that solves F(x) = y: a CVAE beside what an expert would take, on functions whose solutions are known.

quadratic and circle, an arm of three joints on a rail (Ardizzone et al. 2019) and an arm of two joints with exactly two
solutions. All methods see the same 10,000 pairs (x, y) and train for the same number of steps with the same width:
CVAEs of several options, a mixture density network, a conditional spline flow, the x of the nearest y, and plain
regression. Each draws 100 x for each of 200 test values y (of the quadratic those above 0.1, whose roots are apart).
A draw solves where |F(x) - y| is at most 0.1. Told: the share that solves; of known solutions, for how many y all are
hit, and how far the shares at them are from even (total variation); the squared MMD to draws by rejection, for 20 y. A
row of results.csv in --out stands for one method; what is there is not computed again.

python examples/inverse.py --out results/inverse
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zuko
from torch import Tensor, distributions, nn

import polyvae as pv
from polyvae.data.files.writing import held, replacing, write_text
from polyvae.data.sources.inverse import PROBLEMS
from polyvae.evaluation.inverse import discrepancy, rejected, solved

COLUMNS = ("problem", "method", "seed", "solving", "covered", "imbalance", "mmd", "seconds")
VALUES, DRAWS, COMPARED, TOLERANCE = 200, 100, 20, 0.1
NEAR = {"quadratic": 0.02, "circle": 0.02, "arm": 0.1, "two_joints": 0.05}  # of draws by rejection
EPOCHS, BATCH, RATE, WIDTHS, TRANSFORMS, NORMALS = 40, 128, 3e-3, (128, 128), 3, 10
Sampler = Callable[[Tensor, int], Tensor]  # y [Q, m] -> x [Q, K, d]

CVAES: dict[str, dict[str, Any]] = {
    "cvae": {},
    "cvae, conditional prior": {"prior": "conditional"},
    "cvae, 1 latent": {"latent": 1},
    "cvae, 8 latents": {"latent": 8},
    "cvae, fixed scale": {"likelihood": "normal"},
    "cvae, a scale for each x": {"likelihood": "normal-network"},
}
EVERYWHERE = ("cvae", "cvae, conditional prior")  # the others on the problems with known modes alone


def cvae(data: pv.data.Data, seed: int, **options: Any) -> Sampler:
    made = pv.recipes.cvae(data, seed=seed, **{"latent": 2, "network": "mlp", "widths": WIDTHS, **options})
    run = pv.fit(made, data, epochs=EPOCHS, batch_size=BATCH, lr=RATE, schedule="cosine", seed=seed, progress=False)
    return lambda y, count: run.sample(count, y=y, seed=seed).unflatten(0, (count, len(y))).movedim(0, 1)


def trained(net: nn.Module, cost: Callable[[Tensor, Tensor], Tensor], data: pv.data.Data) -> None:
    """The steps of a run, and the weights of its best epoch on the validation part."""
    x, y = (data.train.tensors[name] for name in ("x", "y"))
    held, best, kept = data.validation.tensors, float("inf"), {}
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * -(-len(x) // BATCH))
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            cost(x[index], y[index]).backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            found = float(cost(held["x"], held["y"]))
        if found < best:
            best, kept = found, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)


def standardised(data: pv.data.Data) -> tuple[Tensor, Tensor]:
    x = data.train.tensors["x"]
    return x.mean(0), x.std(0)


def mixture(data: pv.data.Data, seed: int) -> Sampler:
    """A mixture density network: normals with independent values, all numbers from a perceptron of y."""
    torch.manual_seed(seed)
    d, (centre, scale) = data.spec.x[0], standardised(data)
    net = pv.networks.mlp([(data.spec.y,)], (NORMALS * (2 * d + 1),), WIDTHS)

    def law(y: Tensor) -> distributions.Distribution:
        logits, rest = net(y).split([NORMALS, 2 * NORMALS * d], 1)
        loc, raw = rest.unflatten(1, (NORMALS, 2 * d)).chunk(2, 2)
        normals = distributions.Independent(distributions.Normal(loc, nn.functional.softplus(raw) + 1e-3), 1)
        return distributions.MixtureSameFamily(distributions.Categorical(logits=logits), normals)

    trained(net, lambda x, y: -law(y).log_prob((x - centre) / scale).mean(), data)
    return lambda y, count: centre + scale * law(y).sample((count,)).movedim(0, 1)


def flow(data: pv.data.Data, seed: int) -> Sampler:
    """A neural spline flow given y (Durkan et al. 2019)."""
    torch.manual_seed(seed)
    centre, scale = standardised(data)
    net = zuko.flows.NSF(data.spec.x[0], data.spec.y, transforms=TRANSFORMS, hidden_features=WIDTHS)
    trained(net, lambda x, y: -net(y).log_prob((x - centre) / scale).mean(), data)
    return lambda y, count: centre + scale * net(y).sample((count,)).movedim(0, 1)


def neighbours(data: pv.data.Data, seed: int) -> Sampler:
    """The x of the training pairs whose y are nearest."""
    x, seen = (data.train.tensors[name] for name in ("x", "y"))
    return lambda y, count: x[torch.cdist(y, seen).topk(count, 1, largest=False).indices]


def regression(data: pv.data.Data, seed: int) -> Sampler:
    """The least squares: one x for each y."""
    torch.manual_seed(seed)
    net = pv.networks.mlp([(data.spec.y,)], data.spec.x, WIDTHS)
    trained(net, lambda x, y: (net(y) - x).square().sum(1).mean(), data)
    return lambda y, count: net(y)[:, None].expand(-1, count, -1)


METHODS: dict[str, Callable[[pv.data.Data, int], Sampler]] = {
    **{name: lambda data, seed, options=options: cvae(data, seed, **options) for name, options in CVAES.items()},
    "mixture density network": mixture,
    "spline flow": flow,
    "nearest neighbours": neighbours,
    "regression": regression,
}


def asked(data: pv.data.Data, name: str) -> Tensor:
    """The test values y whose solutions are asked for."""
    y = data.test.tensors["y"]
    y = y[y[:, 0] > 0.1] if name == "quadratic" else y
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:VALUES]]


@cache
def truth(name: str, seed: int) -> np.ndarray:
    """Draws by rejection for the first of the values y."""
    y = asked(pv.data.load(name, seed=seed), name)[:COMPARED].double().numpy()
    return rejected(PROBLEMS[name], y, 2 * DRAWS, NEAR[name])


def drawn_at(folder: Path, name: str, method: str) -> Path:
    return folder / f"{name}-{method.replace(', ', '-').replace(' ', '-')}.npz"


def judged(name: str, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """A row of the results; the draws for the first values y are kept for the figure."""
    problem, data = PROBLEMS[name], pv.data.load(name, seed=seed)
    y, start = asked(data, name), time.perf_counter()
    sampler = METHODS[method](data, seed)
    seconds = time.perf_counter() - start
    torch.manual_seed(seed)
    with torch.no_grad():
        x = sampler(y, DRAWS).double().numpy()
    values = y.double().numpy()
    found = solved(problem, x, values, TOLERANCE)
    apart = [discrepancy(*pair) for pair in zip(x, truth(name, seed), strict=False)]
    if seed == 0:
        with replacing(drawn_at(folder, name, method)) as beside, beside.open("wb") as file:
            np.savez(file, x=x[:COMPARED].astype(np.float32), y=values[:COMPARED].astype(np.float32))
    numbers = (found.solving, found.covered, found.imbalance, float(np.mean(apart)), seconds)
    told = ["" if number is None else f"{number:.4g}" for number in numbers]
    return dict(zip(COLUMNS, (name, method, str(seed), *told), strict=True))


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def study(out: Path, seeds: Sequence[int], problems: Sequence[str], methods: Sequence[str]) -> None:
    """Adds to results.csv what is missing there; another process may add to it meanwhile."""
    (out / "draws").mkdir(parents=True, exist_ok=True)
    path = out / "results.csv"
    for seed, name, method in product(seeds, problems, methods):
        known = method not in CVAES or method in EVERYWHERE or PROBLEMS[name].solutions is not None
        if not known or any((name, method, str(seed)) == tuple(row.values())[:3] for row in read(path)):
            continue
        row = judged(name, method, seed, out / "draws")
        print(*row.values(), flush=True)
        with held(out / ".lock"):
            rows = [each for each in read(path) if tuple(each.values())[:3] != (name, method, str(seed))] + [row]
            with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the seeds, with standard deviations of the shares."""
    heads = ("problem", "method", "seeds", "solving, %", "all solutions hit, %", "imbalance", "MMD²", "seconds")
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for name in PROBLEMS:
        for method in METHODS:
            mine = [row for row in rows if (row["problem"], row["method"]) == (name, method)]
            if not mine:
                continue
            said = [_mean(mine, key, factor) for key, factor in zip(COLUMNS[3:], (100, 100, 1, 1, 1), strict=True)]
            lines.append(f"| {name} | {method} | {len(mine)} | {' | '.join(said)} |")
    return "\n".join(lines) + "\n"


def _mean(rows: Sequence[dict[str, Any]], key: str, factor: float) -> str:
    values = [factor * float(row[key]) for row in rows if row[key]]
    if not values:
        return ""
    digits = 1 if factor == 100 else 0 if key == "seconds" else 3
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if factor == 100 and len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


SHOWN = ("cvae", "mixture density network", "spline flow", "nearest neighbours", "regression")


def figure(out: Path) -> None:
    """What each method draws: the quadratic's x over y, the circle, and both arms at one y each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    grid, places = pyplot.subplots(len(PROBLEMS), len(SHOWN), figsize=(13, 10), constrained_layout=True)
    for row, name in zip(places, PROBLEMS, strict=True):
        for place, method in zip(row, SHOWN, strict=True):
            found = np.load(drawn_at(out / "draws", name, method))
            _drawn(place, name, found["x"], found["y"])
            place.set_title(f"{name}: {method}" if method == SHOWN[0] else method, fontsize=9)
            place.tick_params(labelsize=6)
    with replacing(out / "solutions.png") as beside:
        grid.savefig(beside, format="png", dpi=90)
    pyplot.close(grid)


def _drawn(place: Any, name: str, x: np.ndarray, y: np.ndarray) -> None:
    if name == "quadratic":
        roots = np.linspace(-2, 2, 200)
        place.plot(roots**2, roots, color="0.7", lw=1)
        place.plot(np.repeat(y, x.shape[1]), x.ravel(), ".", ms=1)
        place.set_xlabel("y", fontsize=7)
        return
    place.set_aspect("equal")
    if name == "circle":
        angle = np.linspace(0, 2 * np.pi, 200)
        place.plot(np.cos(angle) * y[0, 0] ** 0.5, np.sin(angle) * y[0, 0] ** 0.5, color="0.7", lw=1)
        place.plot(*x[0].T, ".", ms=2)
        return
    for each in x[0]:
        place.plot(*joints(name, each).T, "-", lw=0.4, color="C0", alpha=0.5)
    end = y[0] if name == "two_joints" else y[0, ::-1]
    place.plot(*end, "x", color="k")


def joints(name: str, x: np.ndarray) -> np.ndarray:
    """The points of an arm in the plane, [joints + 1, 2]."""
    if name == "two_joints":
        start, angles, lengths = np.zeros(2), np.cumsum(x), (1.0, 0.8)
    else:
        start, lengths = np.array([0.0, x[0]]), (0.5, 0.5, 1.0)
        angles = np.array([x[1], x[2] - x[1], x[3] - x[1] - x[2]])
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * np.array(lengths)[:, None]
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/inverse"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    asked = parser.parse_args()
    study(asked.out, asked.seeds, asked.problems, asked.methods)
    rows = read(asked.out / "results.csv")
    made = table(rows)
    write_text(asked.out / "table.md", made)
    if {(name, method) for name in PROBLEMS for method in SHOWN} <= {(row["problem"], row["method"]) for row in rows}:
        figure(asked.out)
    print(made)


if __name__ == "__main__":
    main()
