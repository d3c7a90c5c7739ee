"""The example of codes from two priors, end to end and small."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "codes.py"


@pytest.mark.slow
def test_the_learned_prior_makes_digits_that_uniform_codes_do_not(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    small = ["--data", "digits", "--epochs", "15", "--prior-epochs", "25", "--count", "200"]
    report = main([*small, "--out", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "codes.json").read_text()) == report
    assert report["real"]["recognisable"] > 0.8
    assert report["learned"]["nats"] < report["uniform"]["nats"]
    # Four codes a digit leave little to learn; on MNIST, with 49, the ratio is far larger.
    assert report["learned"]["recognisable"] > report["uniform"]["recognisable"] + 0.05
    assert (tmp_path / "run" / "figures" / "samples-learned.png").exists()
