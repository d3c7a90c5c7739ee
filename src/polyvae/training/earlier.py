"""What descriptions of runs meant that were written before an option existed or had its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHARES = {"Objective": 0.0, "Direct": 0.1}  # of the examples decoded at z = 0, by what a run was trained for
APART = "term 'without_z'"  # trains what m says alone, in runs that know of it


def as_now(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description with options that its recipe would now choose otherwise said as they were then.

    Of a decoder that begins at a law nothing was apart (`apart`), and a share of the examples was decoded at z = 0
    (`direct`), or of the first such runs none, which what the run was trained for shows.
    """
    call, trained_for = description.get("recipe"), description.get("objective")
    if not isinstance(call, Mapping) or not isinstance(trained_for, Mapping):
        return dict(description)
    options, share = call.get("options", {}), SHARES.get(str(trained_for.get("kind")))
    begun = call.get("name") == "arbitrary_conditioning" and options.get("decoder") in ("analysers", "normal-law")
    said = {"direct", "apart"} & set(options) or APART in trained_for
    if not begun or said or share is None:
        return dict(description)
    return {**description, "recipe": {**call, "options": {**options, "direct": share}}}
