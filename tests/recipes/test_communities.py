"""Communities of points: as many as are asked for, of neighbours, and those of well-kept implementations."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from polyvae.recipes.communities import _neighbourhood, communities


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 12), st.integers(0, 3))
def test_there_are_as_many_as_are_asked_for_where_there_are_points_for_them(
    points: int, dimensions: int, count: int, seed: int
) -> None:
    found = communities(np.random.default_rng(seed).normal(size=(points, dimensions)), count, seed)
    assert found.shape == (points,)
    assert np.unique(found).tolist() == [*range(min(count, points))]


def test_equal_points_are_no_fault() -> None:
    assert np.unique(communities(np.zeros((40, 2)), 3, 0)).tolist() == [0, 1, 2]


def test_groups_that_lie_apart_are_found_whatever_their_shape() -> None:
    blobs: Any = make_blobs([80, 150, 300], 5, cluster_std=0.5, random_state=0)
    assert adjusted_rand_score(blobs[1], communities(blobs[0], 3, 0)) == 1
    x, y = make_moons(600, noise=0.05, random_state=0)
    normals = GaussianMixture(2, n_init=5, random_state=0).fit_predict(x)
    assert adjusted_rand_score(y, communities(x, 2, 0)) > 0.85 > adjusted_rand_score(y, normals)


def test_digits_are_told_apart_better_than_by_normals() -> None:
    x, y = load_digits(return_X_y=True)
    normals = GaussianMixture(10, n_init=3, reg_covar=1e-2, random_state=0).fit_predict(x)
    assert adjusted_rand_score(y, communities(x, 10, 0)) > 0.75 > adjusted_rand_score(y, normals)


def test_links_are_jaccards_similarity_of_the_nearest_points() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = [set(np.argsort(row)[1:16].tolist()) for row in distance]
    graph = _neighbourhood(points)
    for one in range(30):
        for other in range(one):
            linked = one in nearest[other] or other in nearest[one]
            shared = len(nearest[one] & nearest[other]) / len(nearest[one] | nearest[other])
            weight = graph.edges[one, other]["weight"] if graph.has_edge(one, other) else 0.0
            assert weight == pytest.approx(shared if linked else 0.0)


def test_the_same_seed_finds_the_same_and_no_merge_loses_modularity_to_chance() -> None:
    points = np.random.default_rng(1).normal(size=(200, 3))
    found = communities(points, 4, 7)
    assert np.array_equal(found, communities(points, 4, 7))
    graph, groups = _neighbourhood(points), [set(np.flatnonzero(found == k).tolist()) for k in range(4)]
    chance = np.random.default_rng(2).permutation(found)
    others = [set(np.flatnonzero(chance == k).tolist()) for k in range(4)]
    assert nx.community.modularity(graph, groups) > 0.4 > 0.1 > nx.community.modularity(graph, others)
