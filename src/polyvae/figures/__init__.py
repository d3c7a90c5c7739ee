"""Figures: functions that make arrays, and functions that draw them as PNG files."""

from polyvae.figures.arrays import curves, reconstructions, samples
from polyvae.figures.classes import clusters, reliability
from polyvae.figures.completions import completions, point_errors
from polyvae.figures.from_above import levels
from polyvae.figures.grids import panels
from polyvae.figures.kinds import (
    Clusters,
    Completions,
    Curves,
    GroupKL,
    KLBars,
    LatentMap,
    Levels,
    PointErrors,
    Reconstructions,
    Reliability,
    Samples,
    Strips,
)
from polyvae.figures.latents import group_kl, kl_bars, latent_map
from polyvae.figures.pixels import montage, save_array, save_montage, to_bytes
from polyvae.figures.plots import draw, drawing
from polyvae.figures.walks import interpolations, traversals
from polyvae.figures.whole import save_figures

__all__ = [
    "Clusters",
    "Completions",
    "Curves",
    "GroupKL",
    "KLBars",
    "LatentMap",
    "Levels",
    "PointErrors",
    "Reconstructions",
    "Reliability",
    "Samples",
    "Strips",
    "clusters",
    "completions",
    "curves",
    "draw",
    "drawing",
    "group_kl",
    "interpolations",
    "kl_bars",
    "latent_map",
    "levels",
    "montage",
    "panels",
    "point_errors",
    "reconstructions",
    "reliability",
    "samples",
    "save_array",
    "save_figures",
    "save_montage",
    "to_bytes",
    "traversals",
]
