"""Each recipe has a card, and what the card shows is run: the call and the command are the same training."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import polyvae as pv
from polyvae.cli import main
from polyvae.recipes import RECIPES, is_own

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "making"))

from cards import HERE, PICTURES, Card, cards, markdown, measured, on_page_markdown  # noqa: E402

CARDS = cards()


def test_each_recipe_has_a_card_and_each_card_was_measured() -> None:
    assert set(CARDS) == {name for name, build in RECIPES.items() if not is_own(build)}, "docs/cards.toml"
    assert set(measured()) == set(CARDS), "python examples/cards.py NAME measures a card"


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_call_and_command_of_a_card_train_the_same_recipe(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = replace(card, epochs=min(card.epochs, 1))
    found: dict[str, Any] = {"pv": pv}
    exec(short.python, found)
    assert main([*shlex.split(short.shell.replace("\\\n", ""))[1:], "--run", "run"]) == 0, capsys.readouterr().err
    trained = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["recipe"]
    assert found["run"].recipe.call == trained


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_shows_what_the_catalogue_knows(card: Card) -> None:
    row = measured()[card.name]
    shown = markdown(card, RECIPES[card.name], row)
    assert shown.count(f"{card.name}(data") == 2  # the call and the signature
    assert card.sentence in shown
    assert "\n- `" in shown  # an option, explained
    assert "nats" in shown or "no bound" in shown
    assert (f"{PICTURES}/{card.name}.png" in shown) == (row["data"] == "digits")
    assert f"epochs={card.epochs}" in shown or not card.epochs


def test_cards_stand_where_a_page_wants_them() -> None:
    page = on_page_markdown(f"before\n{HERE}\nafter")
    assert page.startswith("before\n\n### `vae`")
    assert page.endswith("\nafter")
    assert all(f"### `{name}`" in page for name in CARDS)
    assert on_page_markdown("no cards") == "no cards"
    assert HERE in (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
