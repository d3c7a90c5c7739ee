"""Models of several modalities: whether what they make of one shows what another is of, and how likely they hold it."""

from polyvae.evaluation.modalities.coherence import (
    Cross,
    Share,
    by_count,
    cross_coherence,
    joint_coherence,
    real_agreement,
)
from polyvae.evaluation.modalities.generation import Judged, Translator, drawn_jointly, translated
from polyvae.evaluation.modalities.judges import Judge, judges

__all__ = [
    "Cross",
    "Judge",
    "Judged",
    "Share",
    "Translator",
    "by_count",
    "cross_coherence",
    "drawn_jointly",
    "joint_coherence",
    "judges",
    "real_agreement",
    "translated",
]
