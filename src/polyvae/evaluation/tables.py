"""An evaluation report as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_BOUNDS = {"bound": "plain bound on log p({x})", "importance_bound": "importance-weighted bound, K = {samples}"}
COLUMNS = {"unexplained": "variance that it leaves", "wrong": "categories that it misses"}
_LATENT = {
    "dimensions": ("dimensions", 0, ""),
    "active_units": ("active units", 0, ""),
    "kl": ("KL, {kl_source}", 2, "nats an example"),
    "rate_bits": ("rate, the same", 2, "bits an example"),
    "information_bits": ("I(x; z)", 2, "bits"),
}
_CARRIED = {
    "information_most_bits": "  I(x; z) at most, by rate and covariance",
    "marginal_kl_bits": "  KL(q(z) || p(z)) at most, rate less I(x; z)",
    "marginal_kl_least_bits": "  KL(q(z) || p(z)) at least",
}


def table(report: Mapping[str, Any], title: str = "Evaluation") -> Group:
    """What `rich.print` shows of a report: every quantity with its unit, the latents, the notes."""
    shown = Table("quantity", title=escape(title), title_justify="left")
    shown.add_column("value", justify="right")
    shown.add_column("unit")
    for row in _rows(report):
        shown.add_row(*row)
    carried = (report.get("information") or {}).get("latents", {})
    for name, latent in report["latents"].items():
        shown.add_section()
        for row in _latent_rows(name, latent, carried.get(name, {})):
            shown.add_row(*row)
    return Group(shown, *[Text(f"* {note}") for note in report["notes"]])


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "examples", str(report["examples"]), ""
    x = f"x | {escape(', '.join(report['given']))}" if report["given"] else "x"
    for name, words in _BOUNDS.items():
        yield words.format(**report, x=x), number(report[name]), "nats an example"
        yield "  standard error over the examples", number(report[f"{name}_error"]), "nats"
        yield "  the same", number(report[f"{name}_bits"], 4), "bits per dimension"
    yield from _gap_rows(report)
    for name, value in report["reconstruction"].items():
        yield f"reconstruction of {escape(name)}, -E log p", number(value), "nats an example"
    yield "KL, all latents", number(report["kl"]), "nats an example"
    if told := report.get("information"):
        yield "energy, -E log p(x, z)", number(told["energy"]), "nats an example"
        yield "entropy of q(z | x), all latents", number(told["entropy"]), "nats an example"
    yield "squared error of the reconstruction", number(report["mse"], 5), "per value"
    for key, words in COLUMNS.items():
        if report.get(key) is not None:
            logs = key == "unexplained" and any(row["kind"] == "positive" for row in report["columns"])
            yield (
                f"  {words}",
                number(100 * report[key], 1),
                "%, mean over columns" + ", of positive ones' logs" * logs,
            )
    for key, words, digits, unit in (("psnr", "PSNR", 2, "dB"), ("ssim", "SSIM", 4, "")):
        if report[key] is not None:
            yield words, number(report[key], digits), unit
    if found := report.get("clusters"):
        yield f"accuracy of {found['count']} clusters, a label each", number(100 * found["accuracy"]), "%"
        yield "  purity, labels of their own", number(100 * found["purity"]), "%"
        yield "  mutual information with the labels", number(found["nmi"], 3), "of at most 1"
        yield "  adjusted Rand index", number(found["ari"], 3), "0 by chance, 1 at best"
    if found := report.get("classification"):
        yield "classification error", number(100 * found["error"]), "%"
        yield "  -log p of the label", number(found["log_loss"], 3), "nats"
        yield "  Brier score, calibration error", f"{found['brier']:.4f}, {found['calibration_error']:.4f}", ""
    if found := report.get("frechet"):
        yield f"Fréchet distance, {found['count']} samples", number(found["distance"]), "features squared"
        if halves := found["halves"]:
            yield f"  of {halves['count']} samples", number(halves["distance"]), "features squared"
            yield f"  of as many other real pictures, {halves['count']}", number(halves["real"]), "features squared"
        if found["accuracy"] is not None:
            yield "  accuracy of the classifier", number(100 * found["accuracy"]), "%"
        yield "FID", number(found["inception"]), "Inception features"


def _gap_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if refined := report.get("refined"):
        steps = f"{refined['steps']} steps"
        yield f"plain bound, posteriors refined by {steps}", number(refined["bound"]), "nats an example"
        yield "  gain", number(refined["gain"]), "nats"
    if ais := report.get("ais"):
        yield f"log p by annealing, {ais['temperatures']} temperatures", number(ais["log_px"]), "nats an example"
        yield f"  of {ais['examples']} examples, whose plain bound is", number(ais["bound"]), "nats an example"
        yield "  their importance-weighted bound", number(ais["importance_bound"]), "nats an example"
        if "approximation_gap" in ais:
            yield "  between: by one encoder for all", number(ais["amortisation_gap"]), "nats"
            yield "  between: by the family of laws", number(ais["approximation_gap"]), "nats"
        yield "  gap of its bounds on simulated data", number(ais["simulated"]["gap"]), "nats"


def _latent_rows(name: str, latent: Mapping[str, Any], carried: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, (words, digits, unit) in _LATENT.items():
        yield f"{escape(name)}: {words.format(**latent)}", number(latent[key], digits), unit
    if latent["information_limit_bits"] is not None:
        yield "  the estimate at most, by the number of examples", number(latent["information_limit_bits"]), "bits"
    for key, words in _CARRIED.items():
        if carried.get(key) is not None:
            yield words, number(carried[key]), "bits"
    if words := latent["codebook"]:
        yield f"  perplexity of {words['size']} codes at {words['positions']} places", number(words["perplexity"]), ""
        yield "  codes used", number(100 * words["usage"], 1), "%"
        return
    aggregate = latent["aggregate"] or {}
    yield "  aggregate mean to the prior's", number(aggregate.get("mean_distance"), 3), "Euclidean"
    yield "  aggregate covariance to the prior's", number(aggregate.get("covariance_distance"), 3), "Frobenius"


def number(value: float | None, digits: int = 2) -> str:
    """So many digits after the point; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"
