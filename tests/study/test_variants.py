"""The recipes that a study trains: how a line says them, what they are given, the grid of their jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from polyvae.recipes import named
from polyvae.study.budget import Budget, Networks
from polyvae.study.grid import Grid, check_labels
from polyvae.study.records import StudyError
from polyvae.study.tables import Tables
from polyvae.study.trained import layout
from polyvae.study.variants import Variant, variants

SHARED = {"latent": 8, "network": "mlp-tanh", "widths": (16, 16)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("vae", [("vae", "vae", {})]),
        ("vae,iwae", [("vae", "vae", {}), ("iwae", "iwae", {})]),
        (" vae ; iwae:samples=50", [("vae", "vae", {}), ("iwae:samples=50", "iwae", {"samples": 50})]),
        ("iwae:samples=50,vae", [("iwae:samples=50", "iwae", {"samples": 50}), ("vae", "vae", {})]),
        (
            "vae:prior=mixture,components=20 as mixture-20; beta_vae:beta=0.5",
            [
                ("mixture-20", "vae", {"prior": "mixture", "components": 20}),
                ("beta_vae:beta=0.5", "beta_vae", {"beta": 0.5}),
            ],
        ),
        ("vae:widths=300,300 as wide, ae", [("wide", "vae", {"widths": [300, 300]}), ("ae", "ae", {})]),
        ("vae:widths=[8] as narrow", [("narrow", "vae", {"widths": [8]})]),
        ("cvae:condition=true", [("cvae:condition=true", "cvae", {"condition": True})]),
        (
            "vq_vae:widths=8,16,beta=1e-1",
            [("vq_vae:widths=8,16,beta=1e-1", "vq_vae", {"widths": [8, 16], "beta": 0.1})],
        ),
    ],
)
def test_a_line_says_recipes_with_options_and_labels(text: str, found: list[Any]) -> None:
    assert [(each.label, each.recipe, dict(each.options)) for each in variants(text)] == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names with commas"),
        ("vea", "did you mean vae"),
        ("vae,vae", "stands there twice"),
        ("iwae:50", "NAME=VALUE"),
        ("vae:beta=1; vae:beta:1", "NAME=VALUE|stands there twice"),
    ],
)
def test_mistakes_of_such_a_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        variants(text)


@given(
    st.lists(
        st.builds(
            Variant,
            st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
            st.sampled_from(["vae", "iwae", "two_level"]),
            st.dictionaries(st.sampled_from(["latent", "beta", "prior"]), st.integers(-9, 9) | st.sampled_from(["a"])),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda each: each.place,
    ),
    st.sampled_from([",", ";", " ; "]),
)
def test_what_is_written_is_read(chosen: list[Variant], between: str) -> None:
    def written(each: Variant) -> str:
        options = ",".join(f"{name}={value}" for name, value in each.options.items())
        return f"{each.recipe}{':' if options else ''}{options} as {each.label}"

    assert variants(between.join(map(written, chosen))) == chosen


def test_trap30_all_recipes_that_take_a_network_are_given_the_same() -> None:
    assert Variant("a", "vae").given(SHARED) == SHARED
    assert Variant("a", "iwae", {"samples": 3}).given(SHARED) == {**SHARED, "samples": 3}
    assert Variant("a", "vae", {"network": "conv"}).given(SHARED) == {"latent": 8, "network": "conv"}
    assert Variant("a", "ppca").given(SHARED) == {"latent": 8}
    assert Variant("a", "vq_vae").given(SHARED) == {}  # its widths are channels
    for name in ("vae", "iwae", "two_level", "vamp_prior", "ae"):
        model = named(name)((1, 8, 8), **Variant("a", name).given(SHARED)).model
        layers = [each for each in model.heads["x"].likelihood.modules() if isinstance(each, (nn.Linear, nn.Tanh))]
        assert [type(each) for each in layers] == [nn.Linear, nn.Tanh] * 2 + [nn.Linear]
        assert [each.out_features for each in layers[::2]][:2] == [16, 16]


def test_a_grid_is_all_recipes_of_a_seed_and_then_the_next(tmp_path: Path) -> None:
    grid = Grid("vae,iwae:samples=2", "digits", Budget(2, 1, limit=100, binarise="dynamic"), Networks(4, "mlp", (8,)))
    jobs = grid.jobs(tmp_path, "nowhere:measure", {"samples": 3}, "cpu")
    assert [job.title for job in jobs] == [
        "vae, seed 0", "iwae:samples=2, seed 0", "vae, seed 1", "iwae:samples=2, seed 1",
    ]  # fmt: skip
    assert jobs[1].folder == tmp_path / "runs" / "iwae-samples-2" / "seed-0"
    assert jobs[0].data().spec.levels == 2
    assert len(jobs[0].data().train) == 100


@pytest.mark.parametrize(
    ("recipes", "said"),
    [("vae:betta=2", "vae:betta=2: betta is no option"), ("vae:latent=0", "latent is"), ("cvae:prior=flw", "prior")],
)
def test_what_a_recipe_refuses_is_said_before_anything_is_trained(recipes: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        Grid(recipes, "digits", Budget(limit=100)).jobs(tmp_path, "nowhere:measure")


def test_data_with_gaps_are_refused_with_what_a_study_can_do(tmp_path: Path) -> None:
    (tmp_path / "gaps.csv").write_text("a,b\n" + "1.5,2.5\n,4.5\n" * 20, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"20 missing in column 'a'; a study compares .* save the data without"
    ) as raised:
        Grid("vae", str(tmp_path / "gaps.csv"), Budget(seeds=1)).jobs(tmp_path, "nowhere:measure")
    assert "skip_bad" not in str(raised.value)


def test_a_label_means_the_same_recipe_for_good(tmp_path: Path) -> None:
    small = Networks(4, "mlp", (8,))

    def jobs(text: str) -> list[Any]:
        return Grid(text, "digits", Budget(seeds=1, limit=100), small).jobs(tmp_path, "nowhere:measure")

    records = Tables(layout({}))
    (job,) = jobs("iwae:samples=2 as iwae")
    records.add(
        {
            "row": {"label": "iwae", "seed": 0, "recipe": "iwae", "options": json.dumps(job.options, sort_keys=True)},
            "curve": [],
        }
    )
    check_labels(records, jobs("vae, iwae:samples=2 as iwae"), tmp_path)
    with pytest.raises(StudyError, match="iwae, seed 0 with other options"):
        check_labels(records, jobs("iwae:samples=3 as iwae"), tmp_path)
