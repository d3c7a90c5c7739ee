"""Options read off signatures and docstrings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from helpers.contract import spec_for
from polyvae.cli import main
from polyvae.cli.options import Parser, UsageError, advising, help_of, naming, near, options_of
from polyvae.cli.train import RUN, data_options, recipe_options
from polyvae.data import DataError
from polyvae.recipes import RECIPES
from polyvae.training.settings import Settings
from polyvae.training.store import RunError


def example(
    place: Path,
    count: int = 3,
    scale: float | str = "learned",
    widths: Sequence[int] | None = None,
    share: int | float | None = None,
    mode: Literal["a", "b"] = "a",
    quick: bool = False,
    centre: bool = True,
    module: dict[str, Any] | None = None,
) -> None:
    """What it does: something.

    count: how many. And more that is not said.
    scale, share: of what there is;
    on two lines.

    `widths`: of the layers, in order. `mode`: "a" or "b".

    Raises nothing.
    """


def read(*arguments: str) -> dict[str, Any]:
    parser = Parser("polyvae example", "polyvae example PLACE [options]", "text", "polyvae example here")
    parser.add("all", options_of(example))
    return parser.read(arguments)


def test_help_is_the_first_sentence_on_each_parameter() -> None:
    found = help_of(example)
    assert found["count"] == "how many"
    assert found["scale"] == found["share"] == "of what there is; on two lines"
    assert found["widths"] == "of the layers, in order"
    assert found["mode"] == '"a" or "b"'


def test_only_what_was_given_is_returned_and_of_the_annotated_type() -> None:
    assert read("here") == {"place": Path("here")}
    assert read("here", "--count", "-2")["count"] == -2
    assert read("here", "--scale", "0.5")["scale"] == 0.5
    assert read("here", "--scale", "optimal")["scale"] == "optimal"
    assert read("here", "--widths", "512,256")["widths"] == [512, 256]
    shares = [read("here", f"--share={share}")["share"] for share in ("10", "0.1")]
    assert shares == [10, 0.1]
    assert [type(share) for share in shares] == [int, float]
    assert read("here", "--quick", "--no-centre") == {"place": Path("here"), "quick": True, "no_centre": False}


def test_what_no_text_can_stand_for_is_no_option() -> None:
    assert "module" not in {option.name for option in options_of(example)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["here", "--count", "x"], "expected a whole number, got 'x'"),
        (["here", "--share", "x"], "expected a whole number or a number, got 'x'"),
        (["here", "--widths", "5,x"], "expected whole numbers and commas, like 512,256, got '5,x'"),
        (["here", "--mode", "c"], "expected one of a, b, got 'c'"),
        (["here", "--cuont", "3"], "no option --cuont; did you mean --count"),
        (["here", "--count"], "expected one argument"),
        ([], "required: PLACE"),
    ],
)
def test_mistakes_name_the_option_and_what_was_expected(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match="polyvae example --help") as caught:
        read(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("advice", "told"),
    [
        ("Take mode='b', which", "Take --mode b, which"),
        ('give mode="" to keep', "give --mode '' to keep"),
        ("or go on with quick=True.", "or go on with --quick."),
        ("leave centre=False away; got count=3", "leave --no-centre away; got --count 3"),
        ("the file /tmp/mode=b/x.csv and a='b'", "the file /tmp/mode=b/x.csv and a='b'"),
        (
            "balance: SoftAdapt(['x', 'm'], 'a', scale=0.1, count=5) now",
            "balance: SoftAdapt(['x', 'm'], 'a', scale=0.1, count=5) now",
        ),
    ],
)
@pytest.mark.parametrize("kind", [ValueError, RuntimeError, DataError, RunError])
def test_what_a_python_call_is_advised_is_told_as_an_option(advice: str, told: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, advising(options_of(example)):
        raise kind(advice)
    assert str(caught.value) == told
    with pytest.raises(UsageError, match=r"^--count is more; ") as caught, naming(options_of(example)):
        raise ValueError(f"count is more; {advice}")
    assert str(caught.value) == f"--count is more; {told}"


def test_names_of_several_words_are_told_as_options_and_paths_stay() -> None:
    with pytest.raises(RuntimeError) as caught, advising(options_of(Settings)):
        raise RuntimeError("fewer devices or a smaller batch_size; /tmp/batch_size/a, 'save_every', batch_size.csv")
    assert str(caught.value).startswith("fewer devices or a smaller --batch-size; /tmp/batch_size/a, 'save_every', b")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--fold", "1"], "--fold and --folds belong together, as in fold 0 of 5 folds; got fold alone"),
        (["--folds", "3"], "--fold and --folds belong together, as in fold 0 of 5 folds; got folds alone"),
        (["--label", "b"], "give --label '' to keep the column"),
    ],
)
def test_train_advises_its_own_options(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(f"{row % 7},{row / 3}" for row in range(40))
    (tmp_path / "t.csv").write_text(f"a,b\n{rows}\n")
    assert main(["train", "vae", "--data", str(tmp_path / "t.csv"), "--run", str(tmp_path / "r"), *options]) > 0
    assert told in capsys.readouterr().err


def test_pictures_that_cannot_be_read_are_skipped_by_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    assert main(["train", "vae", "--data", str(tmp_path), "--run", str(tmp_path / "r")]) == 1
    assert "or skip what is bad (--skip-bad)" in capsys.readouterr().err


def test_near_names_neighbours_only() -> None:
    assert near("beta_vea", ["beta_vae", "ppca"]) == "; did you mean beta_vae?"
    assert near("zzz", ["beta_vae"]) == ""


EXCLUSIVE = (  # of `Gaussian`, and of `Codes`
    ("latent", "network", "posterior", "prior", "components"),
    (
        *("codes", "dim", "blocks", "codebook", "beta", "revive", "kmeans", "quantiser", "depth", "rotation", "levels"),
        *("entropy", "temperature", "anneal", "hard"),
    ),
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_option_of_a_recipe_is_one_that_it_takes(name: str) -> None:
    options = recipe_options(name, set())
    defaults = {option.name: option.default for option in options if option.default is not None}
    assert defaults or name in {"ppca", "pca"}  # whose one option depends on the data
    small = {"network": "mlp", "components": 3, "softadapt": True}  # what is off takes no options
    given = {key: small.get(key, value) for key, value in defaults.items()}
    for others in EXCLUSIVE:
        RECIPES[name](spec_for(name), **{key: given[key] for key in given if key not in others})


@pytest.mark.parametrize("name", RECIPES)
def test_no_two_options_share_a_flag(name: str) -> None:
    from polyvae.training.settings import Settings

    others = [*RUN, *data_options(), *options_of(Settings)]
    flags = [option.flag for option in [*others, *recipe_options(name, {option.flag for option in others})]]
    assert len(flags) == len(set(flags))
    assert None not in flags
