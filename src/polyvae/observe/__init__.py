"""What a batch shows before the model reads it: transforms of its values, and observations m of a few of them."""

from polyvae.observe.masks import SparsePixels, observation
from polyvae.observe.transforms import Binarise, Chain, Dequantise, Labels, OneHot, Total, chain

__all__ = [
    "Binarise",
    "Chain",
    "Dequantise",
    "Labels",
    "OneHot",
    "SparsePixels",
    "Total",
    "chain",
    "observation",
]
