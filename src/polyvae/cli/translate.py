"""`polyvae translate`: modalities made of others by a run of several."""

from __future__ import annotations

import json as json_module

import torch

from polyvae.checks.names import one_of
from polyvae.checks.ranges import Count
from polyvae.cli.arguments import Reading, Writing
from polyvae.cli.runs import check_place, opened
from polyvae.cli.runs import device as usable


def translate(
    from_: str | None = None,
    to: str | None = None,
    number: Count = 10,
    draws: Count = 5,
    *,
    reading: Reading,
    writing: Writing,
) -> None:
    """Makes some modalities of one that is given, several times each: z ~ q(z | what is given), then what is expected.

    from_: the modality that is given; the first of the run where none is named.
    to: those that are made of it, NAME,NAME; all others where none is named.
    number: how many examples of the part, a column each.
    draws: of z, a row each.
    out: the PNG file; figures/translations-FROM.png in the run folder where none is given.
    npz: a file for the arrays of the figure.

    Example: polyvae translate runs/mmvae --from mnist --to svhn --number 10
    """
    from polyvae.data.cuts import subset
    from polyvae.figures import draw, save_array
    from polyvae.figures.modalities import translated

    for file in (writing.out, writing.npz):
        check_place(file)
    place = usable(reading.device)
    found = opened(reading.run, reading.data_dir, several=True)
    spec = found.run.spec
    if spec is None or not spec.modalities:
        raise ValueError(f"{reading.run} is a run of one x; `polyvae complete` completes what is seen in part")
    known = tuple(spec.values)
    given = known[0] if from_ is None else one_of(known, from_, "from_")
    others = tuple(name for name in known if name != given)
    targets = others if to is None else tuple(one_of(others, name, "to") for name in to.split(","))
    found.run.model.to(torch.device(place))
    _, split = found.split(reading.split)
    figure = translated(found.run, subset(split, number, reading.seed), given, targets, draws, reading.seed)
    out = writing.out or reading.run / "figures" / f"translations-{given}.png"
    files = [draw(figure, out, f"{' and '.join(targets)} of {given}")]
    files += [] if writing.npz is None else [save_array(writing.npz, figure)]
    shown = [str(file) for file in files]
    print(json_module.dumps({"files": shown}) if writing.json else "\n".join(shown))
