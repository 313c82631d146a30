"""The random walk on a graph: find a short way to the goal.

The task is the one that trlX made popular, after Chen et al. 2021, "Decision transformer",
arXiv:2106.01345: letters are nodes, a text is a walk. Graph and code are this project's own.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.tasks.parameters import Arguments, require
from text_gym.tokenizers import CharTokenizer

GOAL = "a"
Graph = Mapping[str, str]
"""The nodes that each node leads to."""


def random_graph(n_nodes: int, max_length: int, edge_probability: float, seed: int) -> Graph:
    """Draws directed graphs until the goal can be reached from every node in time.

    Args:
        n_nodes: Number of nodes, the goal included.
        max_length: Most nodes of a walk; every node must have a shorter way to the goal.
        edge_probability: Of each edge, independently; none leaves the goal.
        seed: Of the graph.

    Raises:
        ValueError: If no such graph is found.

    Example:
        >>> random_graph(3, 3, 0.5, seed=0)
        {'a': '', 'b': 'a', 'c': 'a'}
    """
    nodes = string.ascii_lowercase[:n_nodes]
    np_random = np.random.default_rng(seed)
    for _ in range(1_000):
        edges = np_random.random((n_nodes, n_nodes)) < edge_probability
        np.fill_diagonal(edges, False)
        edges[0] = False
        graph = {
            node: "".join(nodes[other] for other in np.flatnonzero(row))
            for node, row in zip(nodes, edges, strict=True)
        }
        lengths = shortest_walks(graph)
        if len(lengths) == n_nodes and max(lengths.values()) < max_length:
            return graph
    raise ValueError(
        "the goal must be within reach of every node, got no such graph in 1,000 draws with "
        f"n_nodes={n_nodes}, max_length={max_length}, edge_probability={edge_probability}"
    )


def shortest_walks(graph: Graph) -> dict[str, int]:
    """Returns the number of nodes of the shortest walk to the goal, from each node that has one.

    Example:
        >>> shortest_walks({"a": "", "b": "ac", "c": "b", "d": ""})
        {'a': 1, 'b': 2, 'c': 3}
    """
    lengths = {GOAL: 1}
    frontier = [GOAL]
    while frontier:
        reached = [
            node
            for node, successors in graph.items()
            if node not in lengths and any(goal in successors for goal in frontier)
        ]
        lengths.update(dict.fromkeys(reached, lengths[frontier[0]] + 1))
        frontier = reached
    return lengths


@dataclass(frozen=True)
class WalkOptimality:
    """Rewards a walk to the goal by its shortness, in [0, 1].

    (max_length − length)/(max_length − shortest), lengths being numbers of nodes, the start in the
    prompt included: 1 for a shortest walk, 0 for one that takes an edge that does not exist, stops
    early, or needs `max_length` nodes.

    Attributes:
        graph: The nodes that each node leads to.
        max_length: Most nodes of a walk.

    Example:
        >>> reward = WalkOptimality({"a": "", "b": "ac", "c": "b"}, max_length=6)
        >>> reward([Episode.from_text("b", walk) for walk in ("a", "cba", "cb", "ca")])
        array([1. , 0.5, 0. , 0. ])
    """

    graph: Graph
    max_length: int

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the optimalities, shape (n,)."""
        shortest = shortest_walks(self.graph)
        return np.array(
            [
                self._optimality(episode.prompt + episode.completion, shortest[episode.prompt])
                for episode in episodes
            ]
        )

    def _optimality(self, walk: str, shortest: int) -> float:
        if walk[-1] != GOAL or any(b not in self.graph[a] for a, b in pairwise(walk)):
            return 0.0
        return (self.max_length - len(walk)) / (self.max_length - shortest)


def random_walk(
    n_nodes: int = 21, max_length: int = 10, edge_probability: float = 0.1, graph_seed: int = 0
) -> Arguments:
    """Asks for a short walk to the goal through a graph that is never shown.

    ## Description

    `TextGen/RandomWalk-v0`. Letters are the nodes of a fixed directed graph. The prompt is the node
    to start from, every token the next node; the goal is `a`.

    ## Action Space

    `n_nodes` letters and EOS, V = `n_nodes` + 1. Edges that do not exist can be written; such a
    walk is worth nothing.

    ## Starting State

    Any node but the goal, each with equal probability.

    ## Rewards

    The optimality of the walk, in [0, 1]: `WalkOptimality`. The optimal return is 1.

    ## Episode End

    The goal (`stop_reason` is `"stop"`), EOS, or `max_length` − 1 tokens.

    ## Arguments

    Args:
        n_nodes: From 2 to 26.
        max_length: Most nodes of a walk, the start included, at least 3.
        edge_probability: Of each edge of the graph.
        graph_seed: Of the graph, which is the same in every episode.

    Raises:
        ValueError: If one is not, or no graph leads from every node to the goal in less than
            `max_length` nodes.
    """
    require("n_nodes", n_nodes, 2, 26)
    require("max_length", max_length, 3)
    graph = random_graph(n_nodes, max_length, edge_probability, graph_seed)
    nodes = "".join(graph)
    return {
        "prompts": [node for node in nodes if node != GOAL],
        "tokenizer": CharTokenizer(nodes),
        "reward_function": WalkOptimality(graph, max_length),
        "max_new_tokens": max_length - 1,
        "stop_token_ids": [nodes.index(GOAL)],
    }
