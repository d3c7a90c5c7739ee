"""Numbers that a user gives are finite: the check that all parts share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def check_finite(values: Mapping[str, Any]) -> None:
    """ValueError that names the first of the values that is infinite or not a number; lists are looked through."""
    for name, value in values.items():
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name} is a finite number; got {value}")


class NonFiniteError(ArithmeticError):
    """The loss or the weights became infinite or not a number; the message names step and term."""
