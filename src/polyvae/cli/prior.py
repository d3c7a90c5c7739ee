"""`polyvae train-prior`: a PixelCNN over the codes of a vector-quantised run, in the folder `prior` within it."""

from __future__ import annotations

from collections.abc import Sequence

from polyvae.cli.options import Option, Parser
from polyvae.cli.reading import read_path
from polyvae.cli.train import FORMER, recipe_options, settings_options

TEXT = """Trains a learned prior over the codes of a vector-quantised run, the rest of it left as it is.

The codes of the training and validation part are computed once; a gated PixelCNN is trained on them and kept in
DIR/prior. From then on `polyvae sample DIR` draws codes from it and `polyvae evaluate DIR` reports the bound with it,
beside the one with equally probable codes. Ctrl-C leaves it to be gone on with by --resume. Of several maps of codes
(vq_vae_2) each has its own, in DIR/prior/LEVEL, the highest first, which knows the maps above its own."""
EXAMPLE = """polyvae train-prior runs/codes --epochs 30 --layers 10 --condition
polyvae sample runs/codes --temperature 0.9"""
LEVEL = Option("level", "--level", str, "NAME", "train the prior of one map of several alone, such as top", None)
RUN = [
    Option("run", None, read_path, "DIR", "the folder of a vector-quantised run"),
    LEVEL,
    Option("resume", "--resume", None, "", "go on with DIR/prior as if it had not stopped; --epochs may rise", False),
    Option("data_dir", "--data-dir", read_path, "PATH", "where the data lie now, in DIR/NAME", None),
    Option("json", "--json", None, "", "print the result as one JSON document", False),
]


def groups_of() -> dict[str, list[Option]]:
    """The options by group."""
    settings = settings_options()
    taken = {option.flag for option in (*RUN, *settings)}
    return {
        "what it works on": RUN[:2],
        "the prior": [each for each in recipe_options("pixel_cnn", taken) if each.name != "above"],  # of the run itself
        "how it is trained": settings,
        "how": RUN[2:],
    }


def run(name: str, arguments: Sequence[str]) -> None:
    """The command."""
    groups = groups_of()
    settings = groups["how it is trained"]
    parser = Parser("polyvae train-prior", "polyvae train-prior DIR [options]", TEXT, EXAMPLE, FORMER)
    for title, options in groups.items():
        parser.add(title, options)
    found = parser.read(arguments)
    given = {option.name: found[option.key] for group in groups.values() for option in group if option.key in found}
    from polyvae.cli import second_stage  # with torch: after the line is read

    second_stage.train(given, settings, [*groups["the prior"], *settings])
