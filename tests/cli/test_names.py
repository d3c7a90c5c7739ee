"""The options of all commands beside each other: their names, their help."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from polyvae.cli import main
from polyvae.cli.commands import PLACES, options_at
from polyvae.cli.fit_completion import groups_of as matched_groups
from polyvae.cli.fit_prior import every_group as fitted_groups
from polyvae.cli.options import Option
from polyvae.cli.prior import groups_of as prior_groups
from polyvae.cli.train import groups_of
from polyvae.recipes import RECIPES

# Of the study's five folds some are taken, by number or list; of data, one of so many.
ALIKE = {"DIR": "PATH", "TEXT": "NAME"}
TWO_WAYS = {"--folds"}


def every_option() -> dict[str, list[Option]]:
    """The options of each command, those of `train` by recipe."""
    found = {place: options_at(place) for place in PLACES}
    found["train-prior"] = [option for group in prior_groups().values() for option in group]
    found["fit-prior"] = [option for group in fitted_groups().values() for option in group]
    found["fit-completion"] = [option for group in matched_groups().values() for option in group]
    for recipe in RECIPES:
        found[f"train {recipe}"] = [option for group in groups_of(recipe).values() for option in group]
    return found


def test_a_name_takes_the_same_kind_of_value_wherever_it_stands() -> None:
    kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place, options in every_option().items():
        for option in options:
            if option.flag is not None and option.flag not in TWO_WAYS:
                kind = "switch" if option.read is None else option.metavar
                # A path may be called DIR, and some of several names are listed where there are few.
                kinds[option.flag][ALIKE.get(kind, "NAME" if kind[0] == "{" else kind)].append(place)
    assert {flag: dict(found) for flag, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--limit", "training"),
        ("--latent", "dimensions of z"),
        ("--samples", "draws"),
        ("--count", "how many"),
        ("--device", "cpu, cuda or mps"),
        ("--code-prior", "the run's own prior, which of a vector-quantised run is uniform"),
        ("--data-dir", "in DIR/NAME"),
    ],
)
def test_a_name_means_the_same_wherever_it_stands(flag: str, said: str) -> None:
    found = {
        (place, option.help)
        for place, options in every_option().items()
        for option in options
        if option.flag == flag and said not in option.help
    }
    assert found == set()


@pytest.mark.parametrize("place", ["", "datasets", "datasets fetch", "recipes", "completion", *every_option()])
def test_help_explains_every_option_and_speaks_of_absence(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*place.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert not re.search(r"\bNone\b", told)
    assert "as above" not in told


@pytest.mark.parametrize("place", ["", "train", "datasets", "recipes", "completion", *every_option()])
def test_help_keeps_to_the_width_of_the_terminal(
    place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*place.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert not [line for line in text.partition("example:")[0].splitlines() if len(line) > 80]


@pytest.mark.parametrize("recipe", ["vae", "vq_vae", "arbitrary_conditioning", "multitask"])
def test_help_of_a_recipe_says_each_thing_once_and_only_what_a_line_can_give(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", recipe, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("what the kinds of the data ask for") == 1
    assert "`objective`" not in text
    assert "builder of modules" not in text
    assert "whether" not in text
    if recipe == "vq_vae":
        assert "--no-kmeans switch off that the words start at the centres" in text
        assert "residual blocks after the convolutions" in text


@pytest.mark.parametrize("command", ["recipes", "datasets"])
def test_tables_in_a_pipe_are_as_wide_as_columns_says(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked, most in (("90", 90), (None, 160), ("0", 160)):
        monkeypatch.setenv("COLUMNS", asked) if asked else monkeypatch.delenv("COLUMNS", raising=False)
        assert main([command]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line[0] in "┏┃│└"]
        assert lines
        assert max(map(len, lines)) <= most
