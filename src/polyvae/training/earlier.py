"""What descriptions of runs meant that were written before an option existed or had its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_now(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description with options that its recipe would now choose otherwise said as they were then.

    With analysers a share of the examples is decoded at z = 0 (`direct`), which what the run was trained for shows.
    """
    call, trained_for = description.get("recipe"), description.get("objective")
    if not isinstance(call, Mapping) or not isinstance(trained_for, Mapping):
        return dict(description)
    options = call.get("options", {})
    analysed = call.get("name") == "arbitrary_conditioning" and options.get("decoder") == "analysers"
    if not analysed or "direct" in options or trained_for.get("kind") != "Objective":
        return dict(description)
    return {**description, "recipe": {**call, "options": {**options, "direct": 0.0}}}
