"""What the site says of the code is so: files, functions, shapes, rooms and cards."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from functools import reduce
from pathlib import Path

import pytest
import torch

import polyvae as pv

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "making"))

from docstrings import in_code  # noqa: E402
from reference import page_of  # noqa: E402

SOURCE = ROOT / "src" / "polyvae"
WALK = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
DRAWING = (ROOT / "docs" / "images" / "walk.svg").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)` · `([\w.]+)`", WALK)
DRAWN = re.findall(r'class="file"[^>]*>([^<]+)</text><text class="call"[^>]*>([^<]+)<', DRAWING)


def test_the_walk_has_six_stops_and_the_drawing_the_same() -> None:
    assert len(re.findall(r"^## \d\. ", WALK, re.MULTILINE)) == 6
    assert len(DRAWN) == 6
    assert set(DRAWN) < set(NAMED)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_functions_of_the_walk_exist(file: str, name: str) -> None:
    module = importlib.import_module("polyvae." + file.removesuffix(".py").replace("/", "."))
    assert Path(str(module.__file__)) == SOURCE / file
    assert callable(reduce(getattr, name.split("."), module))


def test_shapes_of_the_walk_are_those_of_the_code() -> None:
    told: dict[str, list[int]] = {}
    for name, shape in re.findall(r"^\| `(\w+)` \| \[([\d, ]*)\]", WALK, re.MULTILINE):
        told.setdefault(name, [int(side) for side in re.findall(r"\d+", shape)])
    data = pv.data.wrap(
        (torch.zeros(160, 1, 28, 28, dtype=torch.uint8), torch.arange(160) % 10), validation=0.2, test=0
    )
    made = pv.recipes.semi_conditional(data, latent=16, widths=(4, 8), seed=0)
    batch = made.observe(data.train.batch(torch.arange(128)))
    draw = made.model(batch)
    latent = draw.latents["z"]
    values = made.objective(made.model, batch)
    found = {name: list(value.shape) for name, value in {**values, **batch}.items() if name != "kl"}
    found |= {"q": list(latent.q.mean.shape), "z": list(latent.z.shape), "log_px": list(draw.log_px.shape)}
    assert told == {**found, "kl": list(latent.kl.shape)}
    assert int(batch["m"][0, 1].sum()) == int(re.findall(r"(\d+) pixels for each picture", WALK)[0])


def test_the_site_has_the_order_of_the_rooms() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rooms = next(contract["layers"] for contract in contracts if contract["type"] == "layers")[::-1]
    menu = re.findall(r"^  - (\w+):", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    shown = [title.lower() for title in menu if title.lower() in rooms]
    assert shown == [room for room in rooms if room in shown]
    assert {"model", "objectives", "observe", "recipes", "data", "evaluation", "training"} <= set(shown)
    assert {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(rooms)


def test_the_home_shows_six_things_each_with_a_picture_its_making_and_three_lines() -> None:
    home = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", home, flags=re.MULTILINE)[1:-1]
    assert len(sections) == 6
    for section in sections:
        (picture,) = re.findall(r"!\[[^\]]{20,}\]\((images/home/\w+\.png)\)", section)
        assert (ROOT / "docs" / picture).stat().st_size < 200_000
        (caption,) = re.findall(r"^\*[^*]+\*$", section, re.MULTILINE)
        assert re.search(r"\d+\s+epochs,\s+seed\s+0", caption)
        (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        assert len([line for line in code.splitlines() if line and not line.startswith("from ")]) == 3


GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ANSWERS = re.findall(r"`(\w+/[\w/]+\.py)`(?: · `([\w.]+)`)?", GUIDE[GUIDE.index("## Where is what") :])
INSIDE = [(file, name) for file, name in ANSWERS if (SOURCE / file.split("/")[0]).is_dir()]


@pytest.mark.parametrize(("file", "name"), INSIDE)
def test_what_a_newcomer_asks_is_answered_by_files_that_are_there(file: str, name: str) -> None:
    module = importlib.import_module("polyvae." + file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    assert Path(str(module.__file__)) == SOURCE / file
    if name:
        reduce(getattr, name.split("."), module)


def test_the_newcomers_questions_are_answered_and_files_of_the_repository_exist() -> None:
    table = GUIDE[GUIDE.index("## Where is what") : GUIDE.index("## House rules")]
    for asked in ("importance-weighted bound", "add a mask", "run resumed", "CSV read", "may a prior return"):
        assert asked in table
    for asked in ("stop early", "clipped", "learning rate", "checkpoint", "several GPUs", "standardised", "cut into"):
        assert asked in table
    for path in re.findall(r"`((?:src|tests|docs|examples)/[\w/.]+)`", GUIDE):
        assert (ROOT / path).exists(), path


def test_the_reference_has_a_page_for_each_room() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for room in (path.parent for path in SOURCE.glob("*/__init__.py")):
        assert f"- {room.name}: reference/{room.name}.md" in menu
        page = (ROOT / "docs" / "reference" / f"{room.name}.md").read_text(encoding="utf-8")
        assert page == f"# {room.name}\n\n::: polyvae.{room.name}\n"


def test_the_reference_of_recipes_begins_with_what_one_calls_and_has_each_once() -> None:
    shown = re.findall(r"^::: polyvae\.recipes\.([\w.]+)$", page_of("recipes"), re.MULTILINE)
    assert shown[0] == "variants.vae"
    assert sum(name.endswith(".Recipe") for name in shown) == 1
    offered = [name.partition(".")[2] for name in shown if "." in name]
    assert {*pv.recipes.RECIPES, "Recipe", "Gaussian", "Codes"} <= set(offered)
    assert len(offered) == len(set(offered))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The bound log p(x) of x.", "The bound log p(x) of x."),
        ("p(z) = N(0, I) in d dimensions.", "<code>p(z) = N(0, I)</code> in d dimensions."),
        ("E_q[log p(x | z)], in nats.", "<code>E_q[log p(x | z)]</code>, in nats."),
        ("what follows from x = (a", "what follows from x = (a"),
        ("one (see there) or many", "one (see there) or many"),
    ],
)
def test_formulas_of_docstrings_are_shown_as_code(text: str, shown: str) -> None:
    assert in_code(text) == shown
