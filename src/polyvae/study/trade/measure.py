"""What is measured of a point of the curve: rate, distortion, both bounds, and what the codes tell."""

from __future__ import annotations

from typing import Any

from polyvae.data.cuts import subset
from polyvae.evaluation import both_bounds, describe_codes
from polyvae.evaluation.information import informed
from polyvae.model.draw import first_heads
from polyvae.study.compare.measure import part
from polyvae.study.trade.sweep import Sweep
from polyvae.study.trade.weighing import Job
from polyvae.study.trained import Measured

MEASURE = "polyvae.study.trade.measure:measure"
SEED = 0  # every point is measured on the same examples
MEASURED: dict[str, type] = {
    "beta": float,
    "curve": str,
    "scored": int,
    "samples": int,
    "rate": float,
    "distortion": float,
    "bound": float,
    "importance_bound": float,
    "information": float,
    "information_limit": float,
    "information_most": float,
    "active": int,
}


def measure(measured: Measured) -> dict[str, Any]:
    """The row of a point."""
    job, asked = measured.job, Sweep(**measured.job.asked["sweep"])
    assert isinstance(job, Job)
    examples = subset(part(measured.data), asked.scored, SEED)
    bounds = both_bounds(measured.run, examples, asked.samples, SEED)
    codes = describe_codes(measured.run, examples, SEED)
    told = informed(bounds, codes, first_heads(measured.run.recipe.model.heads))
    alone = next(iter(told.latents.values())) if len(told.latents) == 1 else None
    units = [int(code.active.sum()) for code in codes.values() if code.words is None]
    row = {
        "beta": job.beta,
        "curve": job.asked["curves"][job.variant.label],
        "scored": len(examples),
        "samples": asked.samples,
        "rate": told.rate,
        "distortion": told.distortion,
        "bound": -told.free_energy,
        "importance_bound": float(bounds.importance.mean()),
        "information": None if alone is None else alone.information,
        "information_limit": None if alone is None else alone.limit,
        "information_most": None if alone is None else alone.information_most,
        "active": sum(units) if units else None,
    }
    return {"row": row}
