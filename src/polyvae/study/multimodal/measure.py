"""What is measured of a run on the test part, once, and written as lines: a measure, what was given, a target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from polyvae.data import Data
from polyvae.data.files.writing import held
from polyvae.data.split import Split
from polyvae.evaluation.modalities.coherence import Share, by_count, commonest, real_agreement, translations
from polyvae.evaluation.modalities.distances import distance, joint_draws, references
from polyvae.evaluation.modalities.generation import Translate, Translator
from polyvae.evaluation.modalities.judges import Judge, judges
from polyvae.evaluation.modalities.report import evaluate_modalities
from polyvae.figures.modalities import modal_map, sheet
from polyvae.figures.plots import draw
from polyvae.model.spec import Spec
from polyvae.study.fitted import with_mixture
from polyvae.study.multimodal.jobs import BaselineJob, ModalJob
from polyvae.study.multimodal.protocol import Judging
from polyvae.study.tables import Side
from polyvae.study.trained import Measured

FITTED = 20_000  # rows that a prior is fitted to at most
SEED = 0  # of all that is drawn here: every run is judged by the same rows and the same noise
WITH = "+"  # between names of modalities
MEASURED: dict[str, type] = {
    "absent": float,
    "pairings": int,
    "test": int,
    "draws": int,
    "cross": float,
    "joint": float,
    "joint_real": float,
    "bound": float,
    "importance_bound": float,
    "samples": int,
    "scored": int,
}
MEASURES: dict[str, type] = {
    "label": str,
    "seed": int,
    "place": str,
    "measure": str,
    "given": str,
    "target": str,
    "value": float,
    "error": float,
}
SIDE = Side("measures.csv", MEASURES, "place")
Line = dict[str, Any]
_JUDGES: dict[tuple[Path, str], Mapping[str, Judge]] = {}  # of the study that this process works at


def line(measure: str, given: Iterable[str], target: str, value: float | None, error: float | None = None) -> Line:
    """A line of the table of measures."""
    said = WITH.join(given)
    place = f"{measure}:{said}>{target}"
    return {"place": place, "measure": measure, "given": said, "target": target, "value": value, "error": error}


def measure(measured: Measured) -> dict[str, Any]:
    """The row of a model's run and its "measures"; of the first seed also a sheet of pictures and a map of latents."""
    run, data, job = measured.run, measured.data, measured.job
    assert isinstance(job, ModalJob)
    asked = Judging(**job.asked["judging"])
    asked = replace(asked, samples=0, probed=0) if job.absent else asked
    found = evaluate_modalities(
        run,
        data,
        draws=asked.draws,
        samples=asked.samples,
        scored=asked.scored,
        fitted=asked.probed,
        judges=judged_by(job),
        seed=SEED,
    )
    lines = [line("accuracy", (), name, value) for name, value in found["judges"].items()]
    for each in found["coherence"]:
        lines.append(line("coherence", each["given"], each["target"], each["coherence"], each["error"]))
        lines.append(line("frechet", each["given"], each["target"], each["frechet"]))
    lines.append(line("commonest", (), "", found["commonest"]))
    lines += [line("by_count", (), str(each["given"]), each["coherence"]) for each in found["by_count"]]
    lines += [line("frechet", (), name, value) for name, value in found["joint"]["frechet"].items()]
    lines += [line("frechet_real", (), name, each["frechet"]) for name, each in found["real"].items()]
    lines += [line("probe", each["given"], each["latent"], each["accuracy"]) for each in found.get("probes", [])]
    for name in ("bound", "importance_bound"):
        lines += [line(name, each["given"], "", each[name], each[f"{name}_error"]) for each in found.get("bounds", [])]
    for each in found.get("predictive", []):
        lines.append(
            line(
                "predictive", each["given"], WITH.join(each["targets"]), each["log_density"], each["log_density_error"]
            )
        )
    whole = next((each for each in found.get("bounds", []) if each["given"] == found["modalities"]), {})
    if not job.absent:
        agreed, distances = _fitted(measured, asked.draws)
        lines.append(line("joint_fitted", (), "", agreed.value, agreed.error))
        lines += [line("frechet_fitted", (), name, value) for name, value in distances.items()]
    if job.seed == 0 and not job.absent:
        _drawn(measured, asked)
    row = {
        **_shared(job, data, asked),
        "cross": _single(lines),
        "joint": found["joint"]["coherence"],
        "joint_real": found["joint"]["real"],
        "bound": whole.get("bound"),
        "importance_bound": whole.get("importance_bound"),
        "samples": asked.samples or None,
        "scored": whole.get("examples"),
    }
    return {"row": row, "measures": lines}


def measure_baseline(made: tuple[Translate, Data, BaselineJob]) -> dict[str, Any]:
    """The same of a baseline, which makes one modality of one other and knows no density."""
    translate, data, job = made
    asked, judged = Judging(**job.asked["judging"]), judged_by(job)
    test = part(data)
    real = references(data.train, test, judged, asked.draws, SEED)
    lines, crosses = [line("accuracy", (), name, judge.accuracy) for name, judge in judged.items()], []
    alone = [(name,) for name in judged]
    for given, coherent, seen in translations(translate, test, judged, alone, asked.draws, SEED):
        crosses += coherent
        for each in coherent:
            lines.append(line("coherence", given, each.target, each.coherence.value, each.coherence.error))
            lines.append(line("frechet", given, each.target, distance(seen[each.target], real.get(each.target))))
    lines.append(line("commonest", (), "", commonest(test)))
    lines += [line("by_count", (), str(count), value) for count, value in by_count(crosses).items()]
    lines += [line("frechet_real", (), name, each.distance) for name, each in real.items()]
    agreed = real_agreement(test, judged).value
    return {"row": {**_shared(job, data, asked), "cross": _single(lines), "joint_real": agreed}, "measures": lines}


def part(data: Data) -> Split:
    """The test part, or the validation part where none was cut."""
    return data.test if len(data.test) else data.validation


def judged_by(job: ModalJob) -> Mapping[str, Judge]:
    """The judges of a study: trained once, by whoever comes first, on all real training values, whatever its limit."""
    key = job.study, job.source
    if key not in _JUDGES:
        steps = Judging(**job.asked["judging"]).steps
        with held(job.study / ".judges.lock"), torch.inference_mode(False), torch.enable_grad():
            _JUDGES.clear()
            _JUDGES[key] = judges(job.judged_by(), job.study / "classifier", SEED, steps)
    return _JUDGES[key]


def _shared(job: ModalJob, data: Data, asked: Judging) -> dict[str, Any]:
    return {"absent": job.absent, "pairings": job.course.pairings, "test": len(part(data)), "draws": asked.draws}


def _single(lines: Iterable[Line]) -> float | None:
    """Mean coherence of modalities made of a single other."""
    return next((each["value"] for each in lines if each["measure"] == "by_count" and each["target"] == "1"), None)


def _fitted(measured: Measured, draws: int) -> tuple[Share, dict[str, float | None]]:
    """Joint coherence and distances with a prior that is fitted to the run."""
    data, job = measured.data, measured.job
    assert isinstance(job, ModalJob)
    judges, fitted = judged_by(job), with_mixture(measured.run, data, FITTED, SEED)
    real = references(data.train, part(data), judges, draws, SEED)
    return joint_draws(Translator(fitted, data.spec.values), judges, real, draws, SEED)


def _drawn(measured: Measured, asked: Judging) -> None:
    run, job, test = measured.run, measured.job, part(measured.data)
    specs: Mapping[str, Spec] = measured.data.spec.values
    shown = sheet(run, test, specs, asked.columns, SEED) if asked.columns else None
    if shown is not None:
        draw(shown, picture(job.study, job.variant.place, "sheet"), job.variant.label)
    if asked.mapped:
        found = modal_map(run, test, specs, count=asked.mapped, seed=SEED)
        draw(found, picture(job.study, job.variant.place, "map"), job.variant.label)


def picture(study: Path, place: str, what: str) -> Path:
    """Where a picture of a model's first seed lies."""
    return study / "pictures" / f"{place}-{what}.png"
