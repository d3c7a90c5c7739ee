"""What the places of sensors are worth: pivoted QR, greedy and exchanged sensors, and the best of twenty at random.

All are completed by the same normal law of the training part, conditioned on noisy readings (mean, 256 principal axes,
and at each place the variance that these leave out). Told are errors of the test part, |mean - x| / |x - the training
part's mean|, and CRPS in standard deviations of a channel, means over the seeds of the cut. Of those at random the
best on the validation part is told, and the mean of all.

python examples/sensor_places.py --data cylinder_flow vortices turbulence
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import polyvae as pv
from polyvae.completion.normal import ConditionedNormal
from polyvae.evaluation.calibration import normal_crps
from polyvae.observe.placement import FITTED, METHODS, MOST, place_sensors, principal_modes

TRIES = 20  # at random
TINY = 1e-10  # of a channel's variance: two clean sensors may say the same


@dataclass(frozen=True)
class Field:
    """Fields with channels of variance one over the places `moving` [H, W] where they differ, and their normal law."""

    train: Tensor
    validation: Tensor
    test: Tensor
    moving: Tensor
    law: ConditionedNormal

    @classmethod
    def of(cls, data: pv.data.Data) -> Field:
        train, validation, test = (part.tensors["x"].double() for part in (data.train, data.validation, data.test))
        moving = (train != train[:1]).any(0).any(0)
        scale = train[:, :, moving].std((0, 2))[:, None, None]
        train, validation, test = train / scale, validation / scale, test / scale
        some = train[:: -(-len(train) // FITTED)]
        modes, rest = principal_modes(some, MOST)
        own = rest.flatten() + TINY
        law = ConditionedNormal(some.mean(0).flatten(), modes.flatten(1), own, tuple(some.shape[1:]))
        return cls(train, validation, test, moving, law)

    def score(self, positions: Tensor, noise: float, x: Tensor) -> tuple[float, float]:
        """Error and CRPS from readings of x at the positions, the same noise at every call."""
        mask = torch.zeros(1, 1, *self.moving.shape)
        mask[:, :, positions[:, 0], positions[:, 1]] = 1.0
        read = x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
        mean, std = (value[:, :, self.moving] for value in self.law.measured(noise**2).complete(read, mask))
        truth, usual = x[:, :, self.moving], self.law.mean.view(x.shape[1:])[:, self.moving]
        error = ((mean - truth).square().sum() / (truth - usual).square().sum()).sqrt()
        return float(error), float(normal_crps(truth, mean, std.clamp(min=1e-12)).mean())

    def at_random(self, count: int) -> list[Tensor]:
        """Sets of places, seeded."""
        free, generator = self.moving.nonzero(), torch.Generator().manual_seed(0)
        return [free[torch.randperm(len(free), generator=generator)[:count]] for _ in range(TRIES)]


def scores(field: Field, count: int, noise: float) -> dict[str, tuple[float, float]]:
    """Error and CRPS on the test part by the way of placing."""
    found = {}
    for method in METHODS:
        found[method] = field.score(place_sensors(field.train, count, noise, method), noise, field.test)
    tries = field.at_random(count)
    judged = [field.score(places, noise, field.validation)[0] for places in tries]
    tested = [field.score(places, noise, field.test) for places in tries]
    found["best of 20"] = tested[min(range(TRIES), key=judged.__getitem__)]
    found["at random"] = tuple(torch.tensor(tested).mean(0).tolist())
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["vortices"])
    parser.add_argument("--count", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.05])
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args(arguments)
    for name in asked.data:
        fields = [Field.of(pv.data.load(name, seed=seed)) for seed in range(asked.seeds)]
        for noise in asked.noise:
            for count in asked.count:
                found = [scores(field, count, noise) for field in fields]
                cells = []
                for method in found[0]:
                    error, crps = torch.tensor([each[method] for each in found]).mean(0).tolist()
                    cells.append(f"{method} {error:.3g}, {crps:.3g}")
                print(f"{name}, {count} sensors, noise {noise:g}: " + "; ".join(cells), flush=True)


if __name__ == "__main__":
    main()
