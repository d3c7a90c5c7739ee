"""Models of several modalities: whether what they make of one shows what another is of, and how likely they hold it."""

from polyvae.evaluation.modalities.bounds import Predictive, SubsetBound, predictive_densities, subset_bounds
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
from polyvae.evaluation.modalities.probes import Probe, linear_probes
from polyvae.evaluation.modalities.report import ModalitySettings, evaluate_modalities

__all__ = [
    "Cross",
    "Judge",
    "Judged",
    "ModalitySettings",
    "Predictive",
    "Probe",
    "Share",
    "SubsetBound",
    "Translator",
    "by_count",
    "cross_coherence",
    "drawn_jointly",
    "evaluate_modalities",
    "joint_coherence",
    "judges",
    "linear_probes",
    "predictive_densities",
    "real_agreement",
    "subset_bounds",
    "translated",
]
