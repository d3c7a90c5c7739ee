"""Completion: what a model says of a whole example of which a few values are seen, and what baselines say."""

from polyvae.completion.complete import Completion, complete

__all__ = [
    "Completion",
    "complete",
]
