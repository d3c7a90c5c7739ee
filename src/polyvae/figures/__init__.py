"""Figures: functions that make arrays in [0, 1], and functions that draw them as PNG files."""

from polyvae.figures.arrays import curves, interpolations, kl_bars, latent_map, reconstructions, samples, traversals
from polyvae.figures.kinds import Bars, Curves, LatentMap, Reconstructions, Samples, Strips
from polyvae.figures.pixels import montage, save_array, save_montage, to_bytes
from polyvae.figures.plots import draw, save_figures

__all__ = [
    "Bars",
    "Curves",
    "LatentMap",
    "Reconstructions",
    "Samples",
    "Strips",
    "curves",
    "draw",
    "interpolations",
    "kl_bars",
    "latent_map",
    "montage",
    "reconstructions",
    "samples",
    "save_array",
    "save_figures",
    "save_montage",
    "to_bytes",
    "traversals",
]
