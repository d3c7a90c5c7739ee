"""`polyvae datasets` and `polyvae recipes`."""

from __future__ import annotations

import inspect
import json as json_module
from collections import Counter
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from polyvae.cli.printing import console
from polyvae.cli.reading import check_known


def datasets(data_dir: Path | None = None, json: bool = False) -> None:
    """Lists the data sets: what they are, whether their files are here, and whether these are the published ones.

    `polyvae datasets fetch NAME` downloads one. Files are looked for in --data-dir, $POLYVAE_DATA and the user's cache.

    data_dir: look here first, in DIR/NAME.
    json: print one JSON document.

    Example: polyvae datasets
    polyvae datasets fetch mnist
    """
    from polyvae.data import catalogue

    entries = catalogue(data_dir)
    if json:
        found = [
            {
                "name": entry.name,
                "title": entry.source.about.title,
                "present": entry.present,
                "where": None if entry.where is None else str(entry.where),
                "generated": entry.source.generated,
                "bytes": entry.size,
                "hashes": entry.state,
                "shape": list(entry.shape),
                "shapes": {key: list(shape) for key, shape in entry.shapes.items()},
                "counts": dict(entry.counts),
                "licence": entry.licence,
                "fetchable": entry.fetchable,
                "how": entry.how,
            }
            for entry in entries
        ]
        print(json_module.dumps(found))
        return
    table = Table()
    for heading in ("name", "here", "files", "size", "example"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=True)
    table.add_column("examples")
    table.add_column("licence")
    for entry in entries:
        here = "generated" if entry.source.generated else "yes" if entry.present else "no"
        counts = ", ".join(f"{part} {count:,}" for part, count in entry.counts.items())
        state = "-" if entry.source.generated else entry.state
        sides = Counter("x".join(map(str, each)) for each in entry.shapes.values())
        shape = ", ".join(each if count == 1 else f"{count} of {each}" for each, count in sides.items())
        table.add_row(
            entry.name,
            here,
            state,
            decimal(entry.size, precision=0) if entry.size else "-",
            shape,
            counts,
            entry.licence,
        )
    shown = console()
    shown.print(table)
    for entry in entries:
        if not entry.present:
            shown.print(f"{entry.name}: {entry.how}", markup=False, soft_wrap=True)


def fetch(name: str, data_dir: Path | None = None, json: bool = False) -> None:
    """Downloads a data set, checks it against the published hashes and prints the folder it lies in.

    name: one of `polyvae datasets`.
    data_dir: where it is put, in DIR/NAME; else in $POLYVAE_DATA or the user's cache.
    json: print one JSON document.

    Example: polyvae datasets fetch mnist
    """
    from polyvae import data

    check_known("data set", name, data.names(), "`polyvae datasets` lists them")
    where = str(data.fetch(name, data_dir))
    print(json_module.dumps({"name": name, "where": where}) if json else where)


def recipes(json: bool = False) -> None:
    """Lists the recipes with a sentence and the paper of each; `polyvae train RECIPE --help` lists the options of one.

    json: print one JSON document.

    Example: polyvae recipes
    """
    from polyvae.cli.signatures import recipes as known

    found = {name: _sentence_and_paper(inspect.getdoc(build) or "") for name, build in sorted(known().items())}
    if json:
        rows = [{"name": name, "does": does, "paper": paper} for name, (does, paper) in found.items()]
        print(json_module.dumps(rows))
        return
    table = Table("recipe", "what it is", "paper", show_lines=True)
    for name, (does, paper) in found.items():
        table.add_row(name, does, paper)
    console().print(table, markup=False)


def _sentence_and_paper(text: str) -> tuple[str, str]:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    paper = len(paragraphs) > 1 and not paragraphs[-1].startswith("`")  # else it explains the options
    return paragraphs[0], paragraphs[-1] if paper else ""
