"""k-means, by scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.cluster import KMeans


def k_means(points: np.ndarray, count: int, seed: int, weights: np.ndarray | None = None) -> KMeans:
    """Fitted to points [N, d], each of which may weigh more than one: 20 rounds from one start of k-means++."""
    from sklearn.cluster import KMeans

    return KMeans(count, max_iter=20, tol=0, random_state=seed).fit(points, sample_weight=weights)
