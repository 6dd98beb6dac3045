"""Orders and rows of edges: every edge once, and shapes that depend on sizes alone."""

import numpy as np
import pytest

from tofu_jax.ops.edges import ROW, Edges, order_by_receiver


def random_edges(num_edges, num_nodes, num_relations, seed):
    random = np.random.default_rng(seed)
    highest = (num_nodes, num_relations, num_nodes)
    columns = [random.integers(0, high, num_edges, dtype=np.int32) for high in highest]
    order = order_by_receiver(*columns)
    columns = [column[order] for column in columns]
    return Edges.create(*columns, np.ones(num_edges, bool), num_nodes, num_relations)


@pytest.mark.parametrize(("num_edges", "num_nodes"), [(0, 3), (1, 3), (7, 100), (8, 1), (9, 1), (500, 13), (500, 400)])
def test_rows_hold_every_edge_once_under_its_owner(num_edges, num_nodes):
    edges = random_edges(num_edges, num_nodes, 5, num_edges)
    for rows, ends in (
        (edges.sender_rows, edges.senders),
        (edges.relation_rows, edges.relations),
        (edges.receiver_rows, edges.receivers),
    ):
        held = rows.edge[rows.edge < num_edges]
        np.testing.assert_array_equal(np.sort(held), np.arange(num_edges))
        owner = np.repeat(rows.owner, ROW).reshape(rows.edge.shape)[rows.edge < num_edges]
        np.testing.assert_array_equal(ends[held], owner)
        assert (np.diff(rows.owner) >= 0).all()


def test_equal_sizes_give_equal_shapes():
    """A program compiled for one graph serves all graphs of its bucket."""
    shapes = {tuple(np.shape(part) for rows in random_edges(90, 17, 4, seed)[5:] for part in rows) for seed in range(5)}
    assert len(shapes) == 1


def test_orders():
    edges = random_edges(200, 20, 3, 0)
    assert (np.diff(edges.receivers) >= 0).all()
    same_receiver = np.diff(edges.receivers) == 0
    assert (np.diff(edges.relations)[same_receiver] >= 0).all()
    assert (np.diff(edges.senders[edges.by_sender]) >= 0).all()
