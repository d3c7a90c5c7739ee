"""Groups of points that are each other's neighbours, as many as are asked for."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np

NEIGHBOURS = 15  # of each point
ROUNDS = 20  # of the search for a resolution
FINE, COARSE = 4.0, -5.0  # logarithms of the resolutions between which it is sought


def communities(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Which of `count` communities each of N points [N, d] is of, int64 [N], by modularity.

    Two points are linked where one is among the 15 nearest of the other, with a weight that is the share of nearest
    points that both have. Modularity's resolution is halved into until so many communities are best; where none gives
    as many, of the next more the two that are linked most for their sizes are merged.

    Blondel, Guillaume, Lambiotte, Lefebvre: Fast Unfolding of Communities in Large Networks, 2008; Levine et al.:
    Data-Driven Phenotypic Dissection of AML (PhenoGraph), 2015.
    """
    import networkx as nx

    if count == 1 or len(points) <= count:
        return np.arange(len(points)) % count
    graph = _neighbourhood(points)
    coarse, fine = COARSE, FINE
    found = [{point} for point in range(len(points))]
    for _ in range(ROUNDS):
        middle = (coarse + fine) / 2
        parts = nx.community.louvain_communities(graph, weight="weight", resolution=exp(middle), seed=seed)
        if count <= len(parts) <= len(found):
            found = parts
        if len(parts) == count:
            break
        coarse, fine = (coarse, middle) if len(parts) > count else (middle, fine)
    labels = np.empty(len(points), np.int64)
    for label, part in enumerate(found):
        labels[list(part)] = label
    return _merged(graph, labels, count)


def shared_neighbours(points: np.ndarray) -> Any:
    """How many of the 15 nearest points two points share, sparse [N, N], where one is among those of the other."""
    from sklearn.neighbors import kneighbors_graph

    nearest = kneighbors_graph(points, _nearest(points), mode="connectivity", include_self=False)
    return (nearest @ nearest.T).multiply(nearest + nearest.T > 0).tocsr()


def _nearest(points: np.ndarray) -> int:
    """How many nearest points each has."""
    return min(NEIGHBOURS, len(points) - 1)


def _neighbourhood(points: np.ndarray) -> Any:
    """The graph of the points, weighted by Jaccard's similarity of their neighbours."""
    import networkx as nx

    shared = shared_neighbours(points).tocoo()
    graph = nx.Graph()
    graph.add_nodes_from(range(len(points)))
    once, size = shared.row < shared.col, _nearest(points)
    weights = shared.data[once] / (2 * size - shared.data[once])
    graph.add_weighted_edges_from(zip(shared.row[once].tolist(), shared.col[once].tolist(), weights, strict=True))
    return graph


def _merged(graph: Any, labels: np.ndarray, count: int) -> np.ndarray:
    """At most `count` labels, from 0: those whose points are linked most for their number become one."""
    sizes = np.bincount(labels)
    links = np.zeros((len(sizes), len(sizes)))
    for one, other, weight in graph.edges.data("weight"):
        links[labels[one], labels[other]] += weight
    links += links.T
    while len(sizes) > count:
        # A pair without a link has its sizes to choose by: the smallest go first.
        near = (links + 1e-9) / np.outer(sizes, sizes)
        np.fill_diagonal(near, -1)
        one, other = sorted(np.unravel_index(near.argmax(), near.shape))
        links[one] += links[other]
        links[:, one] += links[:, other]
        sizes[one] += sizes[other]
        links, sizes = np.delete(np.delete(links, other, 0), other, 1), np.delete(sizes, other)
        labels = np.where(labels == other, one, labels - (labels > other))
    return labels
