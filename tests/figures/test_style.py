"""The look of charts: lines that are told apart by colour, by whoever sees it, and without it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb

from polyvae.figures.style import line

# Linear sRGB as it is seen without the red, and without the green cones: Machado, Oliveira, Fernandes: A
# Physiologically-based Model for Simulation of Color Vision Deficiency, 2009.
SEEN = {
    "by most": np.eye(3),
    "without red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "without green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIELAB of a colour as it is seen; 2 of its units are just told apart."""
    values = np.array(to_rgb(colour))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    found = TO_XYZ @ np.clip(seen @ linear, 0, 1) / WHITE
    f = np.where(found > 0.008856, np.cbrt(found), 7.787 * found + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_ten_lines_have_ten_colours_that_the_colour_blind_tell_apart() -> None:
    colours = [line(place)["color"] for place in range(10)]
    for whose, seen in SEEN.items():
        found = [lab(colour, np.array(seen)) for colour in colours]
        assert min(float(np.linalg.norm(a - b)) for a, b in combinations(found, 2)) > 17, whose
        assert max(each[0] for each in found) < 80  # on white paper


def test_lines_are_told_apart_without_colour_too() -> None:
    pairs = [(line(place)["marker"], line(place)["linestyle"]) for place in range(30)]
    assert len(set(pairs)) == 30
