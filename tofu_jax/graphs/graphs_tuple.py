"""A knowledge graph with its tokens as a padded `jraph.GraphsTuple`, the form in which the model sees it.

Sizes are rounded up to buckets, so the number of compiled programs is the number of buckets, not of graphs.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jraph
import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.relation_types import NUM_MENTION_TYPES, Overlap, directed_links, kinds, relation_graph
from tofu_jax.ops.edges import Edges, edge_rows, order_by_receiver, order_by_sender
from tofu_jax.shapes import Array
from tofu_jax.tokens.directions import token_means, whitened
from tofu_jax.tokens.graph_tokens import GraphTokens


@dataclasses.dataclass(frozen=True)
class PaddedGraph:
    """One graph, padded, and where its facts went.

    Attributes:
      graph: jraph.GraphsTuple of two graphs, the second of which is padding.
        nodes: {"text_ids", "image_ids"} int32 [N, T], [N, V] and {"text_mask", "image_mask"} bool of the same shapes; an id
          is a position in the graph's vocabulary. {"text_direction", "image_direction"}:
          [N, c], see `tokens.directions`.
        edges: {"relation", "by_sender"}: int32 [E], see `ops.edges.Edges`; facts and mentions, see `relation_types`.
        senders, receivers: int32 [E]; padding edges join padding entities.
        globals, entry 0 (entry 1 belongs to the padding graph and is 0): {"text_vocabulary", "image_vocabulary"}: int32
          [2, vocabulary], the rows of the codebooks that occur in the graph; {"relation_graph"}: uint8 [2, 4, R, R], 1 at
          [0, m, i, j] where meta relation m (shared head, shared tail, head–tail, tail–head) leads from type j to type i;
          {"relation_overlap"}: float16 [2, R, R] and {"relation_kind"}: uint8 [2, R], see
          `relation_types`.
        globals of the whole: {"sender_rows", "relation_rows", "receiver_rows"}, see `ops.edges.Edges`.
      num_entities: real N; the rest is padding.
      num_relations: real R, inverses included; the rest is padding.
      edge_position: int32 [2·(F + X)] where each of `relation_types.directed_links` stands in the padded graph.
      overlap: of the links' relation types, by which links count.
      mentions: whether mentions carry messages.
    """

    graph: jraph.GraphsTuple
    num_entities: int
    num_relations: int
    edge_position: Array
    overlap: Overlap
    mentions: bool = True

    @property
    def entity_mask(self) -> Array:
        """bool [N], False in padding."""
        return np.arange(len(self.graph.nodes["text_ids"])) < self.num_entities

    def edge_mask(self, removed: Array | None = None, mentions: bool = True) -> Array:
        """Which edges carry messages.

        Args:
          removed: int [n] links to leave out, with their inverses: rows of `KnowledgeGraph.train`, or F + rows of mentions.
          mentions: whether mentions do, where they do in this graph.

        Returns:
          bool [E], False in padding and on the removed edges.
        """
        mask = np.arange(len(self.graph.senders)) < len(self.edge_position)
        if not (mentions and self.mentions):
            mask &= self.graph.edges["relation"] < self.num_relations
        if removed is not None:
            mask[self.edge_position[self._both_ways(removed)]] = False
        return mask

    def relation_overlap(self, removed: Array) -> Array:
        """The global "relation_overlap" of a graph without the links `removed` (as in `edge_mask`), float16 [2, R, R]."""
        shares = self.overlap.shares(self._both_ways(removed))
        return np.stack([shares, np.zeros_like(shares)])

    def _both_ways(self, links: Array) -> Array:
        """The directed edges of links, inverses last."""
        return np.concatenate([links, np.asarray(links) + len(self.edge_position) // 2])


def edges_of(graph: jraph.GraphsTuple, mask: Array) -> Edges:
    """The edges of a padded graph; mask: bool [E] or [E, Q]."""
    rows = {name: graph.globals[name] for name in ("sender_rows", "relation_rows", "receiver_rows")}
    return Edges(graph.senders, graph.edges["relation"], graph.receivers, mask, graph.edges["by_sender"], **rows)


def bucket_size(size: int) -> int:
    """The bucket that holds `size` items: four buckets an octave (8, 10, 12, 14, 16, 20, …), so at most 1.25 times the size."""
    step = max(1 << ((size - 1).bit_length() - 3), 2) if size > 8 else 8
    return -(-max(size, 1) // step) * step


def pad_graph(
    graph: KnowledgeGraph,
    tokens: GraphTokens,
    vectors: Mapping[str, Array],
    num_entities: int = 0,
    num_edges: int = 0,
    num_relations: int = 0,
    num_text_codes: int = 0,
    num_image_codes: int = 0,
) -> PaddedGraph:
    """Puts tokens and edges into a GraphsTuple padded to buckets.

    Args:
      graph: its training facts become the edges, nothing else.
      tokens: of its entities.
      vectors: {"text", "image"}: of the codebooks, centred, [codes, c].
      num_entities, num_edges, num_relations, num_text_codes, num_image_codes: least sizes; the bucket is chosen for the larger
        of this and the need (`shared_sizes` gives those that several graphs share).

    Returns:
      The padded graph (numpy arrays).
    """
    senders, relations, receivers = directed_links(graph, tokens.mentions)
    order = order_by_receiver(senders, relations, receivers)
    edge_position = np.empty(len(order), np.int32)
    edge_position[order] = np.arange(len(order), dtype=np.int32)
    padded_relations = bucket_size(max(graph.num_relations + NUM_MENTION_TYPES, num_relations))
    overlap = Overlap(senders, relations, receivers, padded_relations)
    text_vocabulary, text_ids = _vocabulary(tokens.text_ids, tokens.text_mask, num_text_codes)
    image_vocabulary, image_ids = _vocabulary(tokens.image_ids, tokens.image_mask, num_image_codes)
    single = jraph.GraphsTuple(
        nodes={
            "text_ids": text_ids,
            "text_mask": tokens.text_mask,
            "text_direction": whitened(tokens.text_vectors.astype(vectors["text"].dtype)),
            "image_ids": image_ids,
            "image_mask": tokens.image_mask,
            "image_direction": whitened(token_means(vectors["image"], *tokens.of("image"))),
        },
        edges={"relation": relations[order]},
        senders=senders[order],
        receivers=receivers[order],
        globals={
            "text_vocabulary": text_vocabulary[None],
            "image_vocabulary": image_vocabulary[None],
            "relation_graph": relation_graph(graph, padded_relations)[None],
            "relation_overlap": overlap.shares()[None],
            "relation_kind": kinds(graph.num_relations, padded_relations)[None],
        },
        n_node=np.array([graph.num_entities], np.int32),
        n_edge=np.array([len(order)], np.int32),
    )
    padded = jraph.pad_with_graphs(
        single,
        # One entity more than needed: padding edges must have a padding entity to join.
        n_node=bucket_size(max(graph.num_entities + 1, num_entities)),
        n_edge=bucket_size(max(len(order), num_edges)),
        n_graph=2,
    )
    columns = (padded.senders, padded.edges["relation"], padded.receivers)
    padded = padded._replace(
        edges={**padded.edges, "by_sender": order_by_sender(*columns)},
        globals={**padded.globals, **edge_rows(*columns, len(padded.nodes["text_ids"]), padded_relations)},
    )
    return PaddedGraph(padded, graph.num_entities, graph.num_relations, edge_position, overlap)


def shared_sizes(graphs: Sequence[KnowledgeGraph], tokens: Sequence[GraphTokens]) -> list[dict[str, int]]:
    """Least sizes for `pad_graph` that put graphs of about one size into one bucket: one compiled program for all of them.

    A graph joins the largest one that has at most twice its edges and, up to a factor of two, its entities.

    Returns:
      For each graph the sizes of its bucket.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(graphs)), key=lambda i: -len(graphs[i].train)):
        for group in groups:
            first = graphs[group[0]]
            entities = sorted([first.num_entities, graphs[i].num_entities])
            if len(first.train) <= 2 * len(graphs[i].train) and entities[1] <= 2 * entities[0]:
                group.append(i)
                break
        else:
            groups.append([i])
    sizes: list[dict[str, int]] = [{} for _ in graphs]
    for group in groups:
        common = _common_sizes([graphs[i] for i in group], [tokens[i] for i in group])
        for i in group:
            sizes[i] = common
    return sizes


def _common_sizes(graphs: Sequence[KnowledgeGraph], tokens: Sequence[GraphTokens]) -> dict[str, int]:
    """Sizes with room for each of the graphs."""
    return {
        "num_entities": max(graph.num_entities + 1 for graph in graphs),
        "num_edges": max(2 * (len(g.train) + len(t.mentions)) for g, t in zip(graphs, tokens, strict=True)),
        "num_relations": max(graph.num_relations for graph in graphs) + NUM_MENTION_TYPES,
        "num_text_codes": max(len(np.unique(t.text_ids[t.text_mask])) for t in tokens),
        "num_image_codes": max(len(np.unique(t.image_ids[t.image_mask])) for t in tokens),
    }


def _vocabulary(ids: Array, mask: Array, least: int) -> tuple[Array, Array]:
    """Codebook rows that occur, int32 padded to a bucket, and the ids [N, T] as positions among them (0 where masked)."""
    used = np.unique(ids[mask])
    vocabulary = np.zeros(bucket_size(max(len(used), least)), np.int32)
    vocabulary[: len(used)] = used
    positions = np.searchsorted(used, ids).astype(np.int32)
    return vocabulary, np.where(mask, positions, 0)
