"""A card for each recipe: the catalogue, and beside it docs/cards.toml and what examples/cards.py measured."""

from __future__ import annotations

import csv
import inspect
import re
import textwrap
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = "<!-- cards -->"  # where a page wants them
PICTURES = "images/cards"
MEASURED = ROOT / "results" / "cards.csv"
_OPTION = re.compile(r" (?=`\w+`(?:, `\w+`)*: )")  # before the names that a docstring explains


@dataclass(frozen=True)
class Card:
    """What docs/cards.toml says of the recipe `name`; the file's first lines explain each value."""

    name: str
    sentence: str
    formula: str
    call: str
    command: str
    data: str = "digits"
    epochs: int = 40
    before: str = ""
    loading: str = ""

    @property
    def python(self) -> str:
        """Lines that train the recipe."""
        epochs = f", epochs={self.epochs}" if self.epochs else ""
        lines = [
            f'data = pv.data.load("{self.data}"{self.loading and ", " + self.loading})',
            f"recipe = pv.recipes.{self.name}(data, {self.call}, seed=0)",
            f"run = pv.fit(recipe, data{epochs})",
        ]
        return "\n".join([self.before.strip(), *lines]).strip()

    @property
    def shell(self) -> str:
        """The same as a command."""
        epochs = f" --epochs {self.epochs}" if self.epochs else ""
        line = f"polyvae train {self.name} --data {self.data} {self.command}{epochs}"
        return "\n    ".join(textwrap.wrap(line, 76)).replace("\n", " \\\n")


def cards() -> dict[str, Card]:
    """The cards by recipe, in the file's order."""
    text = (ROOT / "docs" / "cards.toml").read_text(encoding="utf-8")
    return {name: Card(name, row.pop("for"), **row) for name, row in tomllib.loads(text).items()}


def measured() -> dict[str, dict[str, str]]:
    """The rows of results/cards.csv by recipe."""
    with MEASURED.open(encoding="utf-8", newline="") as file:
        return {row["recipe"]: row for row in csv.DictReader(file)}


def markdown(card: Card, build: Callable[..., Any], row: dict[str, str] | None) -> str:
    """A card as a section of a page."""
    _, *paragraphs = (inspect.getdoc(build) or "").split("\n\n")
    paper = paragraphs.pop() if paragraphs and not paragraphs[-1].startswith("`") else ""
    explained = " ".join(" ".join(each for each in paragraphs if each.startswith("`")).split())
    picture = f"{PICTURES}/{card.name}.png"
    drawn = f"\n![Samples of {card.name}]({picture}){{.card}}\n" if (ROOT / "docs" / picture).exists() else ""
    return f"""
### `{card.name}`

{card.sentence}

$$
{card.formula}
$$

```py
{card.python}
```

```shell
{card.shell}
```
{drawn}
{"" if row is None else figures(row)}

<details markdown="1">
<summary>Options</summary>

```py
{signature(card.name, build)}
```

{_OPTION.sub(chr(10) + "- ", " " + explained).strip()}
</details>

{f"*{paper}*" if paper else ""}
"""


def signature(name: str, build: Callable[..., Any]) -> str:
    """A recipe's options with their defaults, without annotations."""
    told = [
        f"**{each.name}" if each.kind is each.VAR_KEYWORD else f"{each.name}={each.default!r}"
        for each in list(inspect.signature(build).parameters.values())[1:]
    ]
    lines, line = [], f"{name}(data"
    for each in told:
        if len(line) + len(each) > 96:
            lines.append(line + ",")
            line = f"    {each}"
        else:
            line += f", {each}"
    return "\n".join([*lines, line + ")"])


def figures(row: dict[str, str]) -> str:
    """What was measured, in a line."""
    bounds = [
        f"{words} {float(row[name]):.2f} nats"
        for name, words in (("bound", "bound"), ("importance_bound", f"with {row['samples']} draws"))
        if row[name]
    ]
    given = f" on log p(x | {row['given']})" if row["given"] else ""
    bound = f"{', '.join(bounds)}{given}" if bounds else "no bound"
    error = f"; squared error {float(row['mse']):.4f}" if float(row["mse"] or 0) else ""
    epochs = f" {row['epochs']} epochs, seed {row['seed']}." if row["epochs"] != "0" else ""
    return f"On the test part of `{row['data']}`: {bound}{error}.{epochs}"


def on_page_markdown(text: str, **_: object) -> str:
    """A page with the cards in it, where it asks for them."""
    if HERE not in text:
        return text
    from polyvae.recipes import RECIPES

    rows = measured()
    return text.replace(HERE, "".join(markdown(card, RECIPES[name], rows.get(name)) for name, card in cards().items()))
