"""The example of two stochastic layers: what it tells, and that it goes on where it was."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import torch

import polyvae as pv

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "hierarchy.py"))


def test_runs_are_judged_in_one_table_and_not_trained_twice(tmp_path: Path) -> None:
    line = ["--data", "digits", "--limit", "60", "--epochs", "1", "--draws", "20", "--pictures", "5"]
    line += ["--out", str(tmp_path / "runs"), "--table", str(tmp_path / "table.csv"), "--methods"]
    EXAMPLE["main"]([*line, "iwae-5"])
    before = (tmp_path / "runs" / "iwae-5" / "metrics.csv").read_bytes()
    rows = EXAMPLE["main"]([*line, "iwae-5", "ladder"])
    assert (tmp_path / "runs" / "iwae-5" / "metrics.csv").read_bytes() == before
    with (tmp_path / "table.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == [row["method"] for row in written] == ["iwae-5", "ladder"]
    assert written[0]["published"] == "83.89"
    assert float(written[0]["nll"]) <= -float(written[0]["bound"])


def test_the_bound_of_both_layers_is_that_of_their_laws() -> None:
    torch.manual_seed(0)
    data = pv.data.load("digits", binarise="dynamic", limit=60)
    made = EXAMPLE["bottom_up"](data, pv.ImportanceWeighted(5))
    x = {"x": data.train.batch(torch.arange(4))["x"]}
    draw = made.model(x, 3)
    z1, z2 = (draw.latents[name] for name in ("z1", "z2"))
    assert (z1.z.shape, z2.z.shape) == ((3, 4, 100), (3, 4, 50))
    assert not z1.separate  # whose prior is given z2, which is drawn after it
    prior = made.model.prior["z1"]({"z2": z2.z.flatten(0, 1)})
    law = made.model.heads["x"]({"z1": z1.z.flatten(0, 1)})
    log_p = law.log_prob(x["x"].repeat(3, 1, 1, 1)) + prior.log_prob(z1.z.flatten(0, 1))
    log_q = z1.log_q + z2.log_q
    exact = log_p.view(3, 4) + torch.distributions.Normal(0, 1).log_prob(z2.z).sum(2) - log_q
    torch.testing.assert_close(draw.log_weight, exact, rtol=1e-5, atol=1e-3)
    bound = exact.logsumexp(0) - torch.tensor(3.0).log()
    torch.testing.assert_close(draw.importance_bound, bound, rtol=1e-5, atol=1e-3)
