"""What the package offers at its top level, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import polyvae as pv


@pytest.mark.parametrize("name", pv.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pv, name) is not None
    assert name in dir(pv)


def test_functions_stay_functions_whatever_is_imported_first() -> None:
    code = (
        "import polyvae.training, polyvae.evaluation, polyvae.training.loop, polyvae as pv;"
        "assert callable(pv.fit) and callable(pv.evaluate) and pv.VAE.__name__ == 'VAE'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_starts_without_torch() -> None:
    subprocess.run([sys.executable, "-c", "import sys, polyvae; assert 'torch' not in sys.modules"], check=True)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'vea'"):
        pv.vea  # noqa: B018


def test_the_flow_is_among_the_families_and_zuko_waits_for_it() -> None:
    code = "import sys, polyvae as pv; pv.families.InverseAutoregressive; assert 'zuko' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_parts_share_and_how_they_train_is_at_the_top() -> None:
    assert pv.Feature is pv.model.Feature
    assert pv.Group is pv.model.Group
