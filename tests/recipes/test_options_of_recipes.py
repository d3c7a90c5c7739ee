"""The options of recipes: read without torch, and the names they admit."""

from __future__ import annotations

import subprocess
import sys

from polyvae.model.families.named import LIKELIHOODS, POSTERIORS
from polyvae.model.networks import NETWORKS
from polyvae.objectives.terms import KERNELS
from polyvae.recipes.options import CHOICES
from polyvae.recipes.parts import PRIORS


def test_what_options_may_be_is_read_without_torch() -> None:
    code = "import sys, polyvae.recipes.options; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_names_that_are_listed_are_those_that_are_known() -> None:
    known = {
        "network": NETWORKS,
        "likelihood": LIKELIHOODS,
        "posterior": POSTERIORS,
        "prior": PRIORS,
        "kernel": KERNELS,
    }
    assert {name: tuple(each) for name, each in known.items()} == CHOICES
