"""The study's report in words: what was run, what is published, what was measured and how."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from polyvae.evaluation.numbers import NONE
from polyvae.study.document import Block, TextTable, heading, plain
from polyvae.study.made_by import versions
from polyvae.study.multimodal.protocol import MODELS
from polyvae.study.multimodal.published import PROTOCOLS, published
from polyvae.study.multimodal.table import Line
from polyvae.training.progress import duration

HOW = (
    "Coherence: z ~ q(z | x_A), one draw for each of so many test rows, over again where these are fewer; the expected "
    "x | z of the target is judged, the likeliest one where it has no mean. Nothing but x_A is shown to the model, "
    "neither flags nor values of other modalities nor labels. Joint: draws of the prior. Fitted prior: a mixture of "
    "normals with full covariances, fitted to a draw of the posterior of each of 20,000 training rows at most, as "
    "`polyvae fit-prior RUN mixture` does.",
    "Judges: a small convolutional classifier of each modality of pictures, a softmax regression of all else, trained "
    "on all real training values of the data, whatever the study's limit, and never on what a model made.",
    "Baselines: cca and kernel-cca, x_B expected of 20 canonical variates of x_A, of 50 principal components or of a "
    "radial kernel; nearest, the partner of the nearest training x_A, whose pictures are real ones that the judge has "
    "learned, so that it may be found right more often than on test pictures; vae-ridge and vae-mlp, a VAE of each "
    "modality with the models' networks and epochs, and a map from the codes of one to those of the other.",
    "An expected picture that is a blur of all pictures of a class is coherent: read coherence beside the Fréchet "
    "distance.",
)


def setup(found: Sequence[Line], protocol: Mapping[str, Any]) -> str:
    """What was run: how much, on what, with what."""
    rows = [run for line in found for run in line.runs]
    train, test = max(row["train"] for row in rows), max(row["test"] for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    pairs = f"{protocol['pairings']} pairing{'s' if protocol['pairings'] > 1 else ''} of each picture"
    device = ", ".join(sorted({row["device"] for row in rows}))
    return (
        f"{len(rows)} runs: {train:,} training rows ({pairs}), {test:,} test rows, {protocol['epochs']} epochs, "
        f"batches of {protocol['batch_size']}, Adam at {protocol['lr']:g}, {protocol['latent']} latent dimensions, "
        f"networks in {protocol['precision']}; the weights of the epoch with the best plain bound on the "
        "validation part, of models that are trained by a tighter one with the best of that. "
        f"Judged on {protocol['draws']:,} draws. On {device}, {duration(seconds)} of training in all. "
        f"{versions(rows)}. Made by:"
    )


def made_by(found: Sequence[Line], protocol: Mapping[str, Any]) -> str:
    """The command that makes such a study."""
    whole = [line for line in found if not line.absent]
    models = "; ".join(_said(line, protocol) for line in whole if not line.baseline)
    baselines = ",".join(line.label for line in whole if line.baseline) or "none"
    last = max(run["seed"] for line in found for run in line.runs)
    words = ["polyvae", "study", "multimodal", "--data", protocol["data"], "--models", models, "--against", baselines]
    words += ["--seeds", str(last + 1)]
    for name, value in protocol.items():
        if name != "data" and value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    shares = sorted({line.absent for line in found if line.absent})
    words += ["--absent-shares", ",".join(f"{share:g}" for share in shares)] if shares else []
    lacking = dict.fromkeys(line.model for line in found if line.absent)
    seeds = [run["seed"] for line in found if line.absent for run in line.runs]
    words += ["--absent-seeds", str(1 + max(seeds))] if seeds else []
    return shlex.join([*words, "--absent-models", ", ".join(lacking) or "none"])


def _said(line: Line, protocol: Mapping[str, Any]) -> str:
    options = json.loads(line.runs[0]["options"])
    own = {name: value for name, value in options.items() if name != "latent" or value != protocol["latent"]}
    if not own and MODELS.get(line.runs[0]["recipe"]):  # which no options would stand for
        own = {name: value for name, value in options.items() if name == "latent"}
    call = line.runs[0]["recipe"] + (":" + ",".join(f"{name}={value}" for name, value in own.items()) if own else "")
    return call if call == line.label else f"{call} as {line.label}"


def published_values(dataset: str) -> list[Block]:
    """What is published of the data set, as it stands there, and how it was made."""
    held = published(dataset)
    if not held:
        return []
    pairs = list(dict.fromkeys(name for each in held for name, _ in each.cross))
    joint = any(each.joint is not None for each in held)
    rows = [
        (
            each.model,
            *(f"{dict(each.cross)[name]:g}" if name in dict(each.cross) else NONE for name in pairs),
            *([NONE if each.joint is None else f"{each.joint:g}"] if joint else []),
            each.source,
        )
        for each in held
    ]
    columns = ("model", *pairs, *(["joint"] if joint else []), "source")
    words = PROTOCOLS.get(dataset, "Budgets and classifiers are theirs, not those of this study.")
    return [heading("Published values"), TextTable(columns, tuple(rows), "Coherence in %."), plain(words)]
