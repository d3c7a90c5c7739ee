"""What a batch shows before the model reads it: transforms of its values, and observations m of a few of them."""

from polyvae.observe.masks import SparsePixels, observation
from polyvae.observe.placement import place_sensors
from polyvae.observe.readings import Readings
from polyvae.observe.transforms import Binarise, Chain, Dequantise, Labels, OneHot, Total, chain

__all__ = [
    "Binarise",
    "Chain",
    "Dequantise",
    "Labels",
    "OneHot",
    "Readings",
    "SparsePixels",
    "Total",
    "chain",
    "observation",
    "place_sensors",
]
