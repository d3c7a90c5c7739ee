"""Scores by what predicts the factors from codes; the only file of evaluation that knows scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.data.cuts import shuffled
from polyvae.evaluation.disentanglement.metric import CodesMetric, single


class DCI(CodesMetric):
    """Disentanglement, completeness and informativeness, by the importance R [d, F] of dimensions to forests.

    disentanglement = sum_i rho_i (1 - H_F(P_i)), P_i the row of R as shares, rho_i its share of the sum of R;
    completeness = 1/F sum_f (1 - H_d(Q_f)), Q_f the column as shares; entropies to the base of the number of shares.
    informativeness: the mean over factors of the forests' accuracy on the other half of the examples.

    For each factor a random forest of `trees` classifies its values on a seeded half of the examples, looking at all
    dimensions for each split and at leaves of at least `leaf` examples; importance is the impurity that it removes.
    Returns {"disentanglement", "completeness", "informativeness"}.

    Eastwood, Williams: A Framework for the Quantitative Evaluation of Disentangled Representations, 2018.
    """

    def __init__(self, trees: int = 10, leaf: int = 5, seed: int = 0, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        at_least("trees", trees, 1)
        at_least("leaf", leaf, 1, "examples")
        self.trees, self.leaf, self.seed = trees, leaf, seed

    def compute(self) -> dict[str, Tensor]:
        from sklearn.ensemble import RandomForestClassifier

        codes, factors = self.gathered()
        train, test = _halves(len(codes), self.seed)
        importance, accuracy = [], []
        for factor in factors.values():
            # All dimensions at each split: a few that were drawn would leave importance with the useless ones.
            forest = RandomForestClassifier(self.trees, min_samples_leaf=self.leaf, random_state=self.seed)
            forest.set_params(max_features=None)
            forest.fit(codes[train], factor[train])
            importance.append(forest.feature_importances_)
            accuracy.append(forest.score(codes[test], factor[test]))
        table = np.stack(importance, 1)
        weight = table.sum(1) / max(table.sum(), 1e-12)
        return {
            "disentanglement": single((weight * _certain(table)).sum()),
            "completeness": single(_certain(table.T).mean()),
            "informativeness": single(np.mean(accuracy)),
        }


class SAP(CodesMetric):
    """The separated attribute predictability: the mean over factors of the gap between the two best dimensions.

    Each dimension is scored alone: of an ordered factor by the squared correlation with its numbers, of a `categorical`
    one, named by its column, by the balanced accuracy of a linear support vector machine on the other half of the
    examples. A code of one dimension has no second.

    Kumar, Sattigeri, Balakrishnan: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations,
    2018.
    """

    def __init__(self, categorical: Sequence[int] = (), seed: int = 0, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        self.categorical, self.seed = frozenset(categorical), seed

    def compute(self) -> Tensor:
        codes, factors = self.gathered()
        train, test = _halves(len(codes), self.seed)
        gaps = []
        for column, factor in factors.items():
            if column in self.categorical:
                scores = [_margin(z, factor, train, test) for z in codes.T]
            else:
                scores = [_correlation(z, factor) ** 2 for z in codes.T]
            *_, second, first = sorted([0.0, *scores])
            gaps.append(first - second)
        return single(np.mean(gaps))


class Explicitness(CodesMetric):
    """How well linear classifiers tell each value of each factor from the others: the mean area under their curves.

    For each value a logistic regression, one value against the rest, learns from the whole code of a seeded half of the
    examples; the area under the receiver operating characteristic is on the other half. 1/2 by chance, 1 at best. A
    value in the middle of a range is in no half-space of a dimension that holds the range in order.

    Ridgeway, Mozer: Learning Deep Disentangled Embeddings with the F-Statistic Loss, 2018.
    """

    def __init__(self, seed: int = 0, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        self.seed = seed

    def compute(self) -> Tensor:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score

        codes, factors = self.gathered()
        codes = _standardised(codes, codes)
        train, test = _halves(len(codes), self.seed)
        areas = []
        for factor in factors.values():
            own = []
            for value in range(factor.max() + 1):
                here = factor == value
                if 0 < here[train].sum() < len(train) and 0 < here[test].sum() < len(test):
                    fitted = LogisticRegression(max_iter=1000).fit(codes[train], here[train])
                    own.append(roc_auc_score(here[test], fitted.decision_function(codes[test])))
            areas += [np.mean(own)] if own else []
        if not areas:
            raise ValueError("explicitness needs values of a factor that stand in both halves of the examples")
        return single(np.mean(areas))


def linear_accuracy(codes: np.ndarray, classes: np.ndarray, others: np.ndarray, expected: np.ndarray) -> float:
    """The accuracy on `others` of a logistic regression that learns the classes of `codes`."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=1000).fit(_standardised(codes, codes), classes)
    return float(fitted.score(_standardised(others, codes), expected))


def _margin(z: np.ndarray, factor: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    z = _standardised(z[:, None], z[:, None])
    fitted = LinearSVC(C=0.01, class_weight="balanced", random_state=0, dual="auto").fit(z[train], factor[train])
    return float(balanced_accuracy_score(factor[test], fitted.predict(z[test])))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one @ one) * (other @ other))
    return 0.0 if size == 0 else float(one @ other / size)


def _standardised(codes: np.ndarray, by: np.ndarray) -> np.ndarray:
    deviation = by.std(0)
    return (codes - by.mean(0)) / np.where(deviation > 0, deviation, 1)


def _halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = shuffled(count, seed).numpy()
    return order[: count // 2], order[count // 2 :]


def _certain(table: np.ndarray) -> np.ndarray:
    """1 less the entropy of each row's shares, to the base of their number; 0 for a row of zeros."""
    total = table.sum(1, keepdims=True)
    shares = table / np.where(total > 0, total, 1)
    logs = np.log(np.where(shares > 0, shares, 1))
    entropy = -(shares * logs).sum(1) / np.log(max(2, table.shape[1]))
    return np.where(total[:, 0] > 0, 1 - entropy, 0)
