"""Clusters beside labels, and probabilities beside what comes true: against scikit-learn and closed forms."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from sklearn import metrics

import polyvae as pv
from polyvae.data import wrap
from polyvae.evaluation import class_probabilities, classification, classify, clustering
from polyvae.evaluation.classes import fitted_temperature, named_clusters, scaled


def test_the_measures_of_clusters_are_scikit_learns_and_know_no_names() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (300,), generator=generator)
    found = torch.where(
        torch.rand(300, generator=generator) < 0.7, labels, torch.randint(6, (300,), generator=generator)
    )
    told = clustering(found, labels)
    assert told["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(labels, found))
    assert told["ari"] == pytest.approx(metrics.adjusted_rand_score(labels, found))
    renamed = clustering(torch.tensor([3, 5, 0, 1, 4, 2])[found], labels)
    assert renamed == pytest.approx(told)
    assert clustering(torch.tensor([2, 0, 1, 3])[labels], labels)["accuracy"] == 1
    assert told["accuracy"] <= told["purity"]


def test_every_example_by_itself_is_pure_and_no_more_accurate_than_its_labels_allow() -> None:
    labels = torch.arange(20) % 2
    alone = clustering(torch.arange(20), labels)
    assert (alone["purity"], alone["accuracy"], alone["ari"]) == (1.0, 0.1, 0.0)
    one = clustering(torch.zeros(20, dtype=torch.int64), torch.zeros(20, dtype=torch.int64))
    assert (one["accuracy"], one["nmi"], one["ari"]) == (1.0, 1.0, 1.0)


def test_the_measures_of_probabilities_are_their_closed_forms() -> None:
    p = torch.tensor([[0.7, 0.3]]).double().repeat(4, 1)
    told = classification(p.log(), torch.tensor([0, 0, 0, 1]))
    assert told["error"] == pytest.approx(0.25)
    assert told["log_loss"] == pytest.approx(-(3 * log(0.7) + log(0.3)) / 4)
    assert told["brier"] == pytest.approx((3 * 0.18 + 0.98) / 4)
    assert told["calibration_error"] == pytest.approx(0.05)
    assert told["bins"] == [pytest.approx([10 / 15, 11 / 15, 1.0, 0.7, 0.75])]


def test_a_temperature_undoes_another_and_leaves_the_order() -> None:
    torch.manual_seed(0)
    log_p = (2 * torch.randn(20_000, 4).double()).log_softmax(1)
    labels = torch.multinomial(log_p.exp(), 1)[:, 0]
    sure = scaled(log_p, 0.4)  # too sure of itself
    found = fitted_temperature(sure, labels)
    assert found == pytest.approx(2.5, rel=0.05)
    mended = scaled(sure, found)
    assert mended.argmax(1).equal(log_p.argmax(1))
    before, after = classification(sure, labels), classification(mended, labels)
    assert after["calibration_error"] < 0.01 < before["calibration_error"]
    assert after["log_loss"] < before["log_loss"]
    assert after["error"] == before["error"]


def test_what_is_too_improbable_for_a_number_is_judged_by_its_logarithm() -> None:
    torch.manual_seed(0)
    labels = torch.arange(400) % 3
    right = torch.where(torch.rand(400) < 0.9, labels, (labels + 1) % 3)
    logits = 3000 * torch.nn.functional.one_hot(right, 3).double()
    told = classification(logits.log_softmax(1), labels)
    assert told["log_loss"] == pytest.approx(3000 * told["error"])
    mended = scaled(logits.log_softmax(1), 100.0)
    temperature = fitted_temperature(mended, labels)
    # 30 / T is the logarithm of the odds of the class that is told, shared by both others.
    hit = 1 - told["error"]
    assert temperature == pytest.approx(30 / log(2 * hit / (1 - hit)), rel=1e-3)


def test_a_cluster_has_the_labels_of_those_in_it() -> None:
    q = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]).double()
    table = named_clusters(q, torch.tensor([0, 0, 1, 0]), 2)
    torch.testing.assert_close(
        table, torch.tensor([[2.75, 0.25], [1.75, 1.25], [0.75, 0.25]]).double() / torch.tensor([[3.0], [3], [1]])
    )


def test_clusters_are_named_by_known_labels_and_their_probabilities_scaled_by_others() -> None:
    torch.manual_seed(0)
    y = torch.arange(600) % 2
    x = torch.randn(600, 3) + 6 * y[:, None]
    data = wrap((x, y), validation=100, test=100)
    made = pv.recipes.vade(data.spec, 2, settle=14, latent=2, network="mlp", widths=[32], seed=0)
    run = pv.fit(made, data, epochs=16, batch_size=25, lr=3e-3, progress=False)
    found = classify(run, data.test, data.train, data.validation, 2)
    assert found.raw is not None
    assert found.calibrated is not None
    assert found.raw["error"] < 0.05
    assert found.temperature is not None
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(100).double())
    report = pv.evaluate(run, data, samples=2)
    assert report["clusters"]["accuracy"] > 0.95
    assert "classification" not in report
    with pytest.raises(ValueError, match="clusters are named by labels of the training part"):
        classify(run, data.test, wrap(x).train, None, 2)
    with pytest.raises(TypeError, match="needs a model with classes: m2, vade, gmvae"):
        class_probabilities(pv.recipes.vae((3,), network="mlp", latent=2), data.test)


def test_a_frame_is_classified_as_its_split_is() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(60) / 7, "b": np.arange(60) % 5 / 3, "label": ["cat", "dog", "eel"] * 20})
    run = pv.fit("m2", frame, epochs=1, progress=False, seed=0)
    told = classify(run, frame)
    assert told.probabilities.shape == (60, 3)
    assert told.raw is not None
    assert told.probabilities.equal(classify(run, frame.drop(columns="label")).probabilities)
