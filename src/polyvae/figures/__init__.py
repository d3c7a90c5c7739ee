"""Figures: functions that make arrays, and functions that draw them as PNG files."""

from polyvae.figures.arrays import curves, interpolations, kl_bars, latent_map, reconstructions, samples, traversals
from polyvae.figures.completions import completions, point_errors
from polyvae.figures.grids import panels
from polyvae.figures.kinds import Bars, Completions, Curves, LatentMap, PointErrors, Reconstructions, Samples, Strips
from polyvae.figures.pixels import montage, save_array, save_montage, to_bytes
from polyvae.figures.plots import draw, drawing, save_figures

__all__ = [
    "Bars",
    "Completions",
    "Curves",
    "LatentMap",
    "PointErrors",
    "Reconstructions",
    "Samples",
    "Strips",
    "completions",
    "curves",
    "draw",
    "drawing",
    "interpolations",
    "kl_bars",
    "latent_map",
    "montage",
    "panels",
    "point_errors",
    "reconstructions",
    "samples",
    "save_array",
    "save_figures",
    "save_montage",
    "to_bytes",
    "traversals",
]
