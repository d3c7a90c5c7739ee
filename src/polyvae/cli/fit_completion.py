"""`polyvae fit-completion`: a law q(z | m) fitted to a trained run, by which it completes."""

from __future__ import annotations

from collections.abc import Sequence

from polyvae.cli.options import Option, Parser, options_of
from polyvae.cli.reading import read_path
from polyvae.cli.train import FORMER, settings_options
from polyvae.training.matching import Matching

TEXT = """Fits a law q(z | m) of the latents given a few values to a trained run, the rest of it left as it is.

m is a few pixels of a picture, or columns of a table, drawn anew in every epoch; what is fitted are draws of the
run's posteriors (posterior matching: Strauss, Oliva, 2022). It is kept in DIR/completion, and from then on
`polyvae complete DIR` draws z from it and decodes, whatever recipe the run is of; --code-prior own leaves it out.
Sampling and evaluation stay the run's own. Ctrl-C leaves it to be gone on with by --resume."""
EXAMPLE = """polyvae fit-completion runs/first --epochs 20
polyvae complete runs/first --count 40"""
RUN = [
    Option("run", None, read_path, "DIR", "the folder of a run whose prior reads no observation"),
    Option(
        "resume", "--resume", None, "", "go on with DIR/completion as if it had not stopped; --epochs may rise", False
    ),
    Option("data_dir", "--data-dir", read_path, "PATH", "where the data lie now, in DIR/NAME", None),
    Option("json", "--json", None, "", "print the result as one JSON document", False),
]


def groups_of() -> dict[str, list[Option]]:
    """The options by group."""
    return {
        "what it works on": RUN[:1],
        "the law, and what it is shown": options_of(Matching),
        "how it is trained": settings_options(),
        "how": RUN[1:],
    }


def run(name: str, arguments: Sequence[str]) -> None:
    """The command."""
    groups = groups_of()
    parser = Parser("polyvae fit-completion", "polyvae fit-completion DIR [options]", TEXT, EXAMPLE, FORMER)
    for title, options in groups.items():
        parser.add(title, options)
    found = parser.read(arguments)
    given = {option.name: found[option.key] for group in groups.values() for option in group if option.key in found}
    from polyvae.cli import matching  # with torch: after the line is read

    matching.fit(given, groups["the law, and what it is shown"], groups["how it is trained"])
