"""A trained model as a scorer of queries on one graph: what evaluation ranks with and prediction reads."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.model.prompt_encoder import PromptArrays
from tofu_jax.model.tofu import Tofu
from tofu_jax.shapes import Array

_HEADS = 4  # H of a compiled program, unless it is 1: queries of one relation that share its prompt
_MOST_RELATIONS = 4  # Q of a compiled program; more leave the caches and cost more CPU time per query
_STATE_MIB = 128  # bound on one [N, Q, H, d] array; some six of them live at once
_CACHED_RELATIONS = 256

_encode_entities = jax.jit(
    lambda model, params, graph, codebooks: model.apply(params, graph, codebooks, method=Tofu.encode_entities),
    static_argnums=0,
)
_encode_relations = jax.jit(
    lambda model, params, *args: model.apply(params, *args, method=Tofu.encode_relations), static_argnums=0
)
_score = jax.jit(lambda model, params, *args: model.apply(params, *args, method=Tofu.score)[0], static_argnums=0)


class ModelScorer:
    """Scores all entities for queries on one graph; an `evaluation.ranking.Scorer`.

    Entities are encoded once, relations once per query relation; queries of one relation share its prompt.

    Attributes:
      model, params: of the checkpoint.
      graph: that it asks about.
    """

    def __init__(
        self,
        model: Tofu,
        params: Any,
        codebooks: Mapping[str, jax.Array],
        graph: PreparedGraph,
        num_examples: int,
    ):
        """Encodes the entities.

        Args:
          model, params: of a checkpoint.
          codebooks: {"text", "image"}: frozen vectors [codes, c].
          graph: to ask about.
          num_examples: M, prompt examples per relation: the first ones of each relation's pool.
        """
        self.model, self.params, self.graph = model, params, graph
        self._codebooks, self._num_examples = codebooks, num_examples
        self._edge_mask = jnp.asarray(graph.padded.edge_mask())
        self._entities = _encode_entities(self.model, self.params, graph.arrays, codebooks)
        state_mib = len(graph.padded.entity_mask) * _HEADS * model.config.width * 4 / 2**20
        self._num_relations = max(1, min(_MOST_RELATIONS, int(_STATE_MIB / state_mib)))
        self._prompts: dict[int, jax.Array] = {}
        self._without: dict[str, ModelScorer] = {}

    def __call__(self, queries: Array, /) -> Array:
        """Scores every entity as the answer of each query.

        Args:
          queries: int32 [B, 2] (head, relation), relation in 0..R-1, inverses included; sorted by relation is fastest.

        Returns:
          float32 [B, N], higher is likelier; only the order within a row means something.
        """
        scores = np.empty((len(queries), self.graph.graph.num_entities), np.float32)
        for blocks, num_relations in self._calls(_blocks_of_one_relation(queries)):
            num_heads = 1 if len(blocks[0]) == 1 else _HEADS
            padded = blocks + blocks[-1:] * (num_relations - len(blocks))
            relations = np.array([queries[block[0], 1] for block in padded], np.int32)
            heads = np.stack([np.resize(queries[block, 0], num_heads) for block in padded])
            found = _score(
                self.model,
                self.params,
                self.graph.arrays,
                self._edge_mask,
                self._entities,
                jnp.stack(self._encoded(relations), axis=1),
                relations,
                heads,
            )
            found = np.asarray(found)
            for block, rows in zip(blocks, found, strict=False):
                scores[block] = rows[: len(block), : scores.shape[1]]
        return scores

    def _calls(self, blocks: list[Array]) -> Iterator[tuple[list[Array], int]]:
        """Blocks to score with one program, and the Q of that program.

        There are four programs, for one relation or several, and for one head or several. Blocks of one query and larger ones
        do not share a call, and few blocks go one by one: what a program does for places that are not taken is lost.
        """
        for alike in ([block for block in blocks if len(block) == 1], [block for block in blocks if len(block) > 1]):
            for start in range(0, len(alike), self._num_relations):
                chunk = alike[start : start + self._num_relations]
                if 2 * len(chunk) <= self._num_relations:
                    yield from (([block], 1) for block in chunk)
                else:
                    yield chunk, self._num_relations

    def without(self, modality: str) -> "ModelScorer":
        """The scorer of the same graph with "text" or "image" masked."""
        if modality not in self._without:
            graph = self.graph.without(modality)
            self._without[modality] = ModelScorer(self.model, self.params, self._codebooks, graph, self._num_examples)
        return self._without[modality]

    def arguments(self, head: int, relation: int, removed: Array | None = None) -> tuple:
        """What `Tofu.score` takes for one query.

        Args:
          head, relation: of the query, inverses included.
          removed: int [n] links that send no messages, see `PaddedGraph.edge_mask`; None for none.
        """
        mask = jnp.asarray(self.graph.padded.edge_mask(removed))
        relations = np.array([relation], np.int32)
        encoded = jnp.stack(self._encoded(relations), axis=1)
        return self.graph.arrays, mask, self._entities, encoded, relations, np.array([[head]], np.int32)

    def score_without(self, head: int, relation: int, removed: Array | None) -> Array:
        """Scores float32 [N] of one query, asked with `arguments`."""
        found = _score(self.model, self.params, *self.arguments(head, relation, removed))
        return np.asarray(found)[0, 0, : self.graph.graph.num_entities]

    def _encoded(self, relations: Array) -> list[jax.Array]:
        """P of each query relation [R, d], from memory where it was asked for before."""
        missing = [int(r) for r in dict.fromkeys(relations.tolist()) if r not in self._prompts]
        for start in range(0, len(missing), len(relations)):
            chunk = missing[start : start + len(relations)]
            padded = np.resize(np.array(chunk, np.int32), len(relations))
            examples = np.tile(np.arange(self._num_examples), (len(padded), 1))
            prompts = self.graph.prompts.prompts(padded, examples)
            arrays = PromptArrays(**{name: getattr(prompts, name) for name in PromptArrays._fields})
            encoded = _encode_relations(self.model, self.params, self.graph.arrays, self._entities, arrays)
            for position, relation in enumerate(chunk):
                self._prompts[relation] = encoded[:, position]
        found = [self._prompts[int(relation)] for relation in relations]
        while len(self._prompts) > _CACHED_RELATIONS:
            del self._prompts[next(iter(self._prompts))]
        return found


def _blocks_of_one_relation(queries: Array) -> list[Array]:
    """Positions of the queries, at most _HEADS of one relation in a block; no block is half empty, but for those of one."""
    order = np.argsort(queries[:, 1], kind="stable")
    bounds = np.flatnonzero(np.diff(queries[order, 1])) + 1
    groups = np.split(order, bounds)
    blocks = [block for group in groups for block in np.split(group, range(_HEADS, len(group), _HEADS)) if len(block)]
    return [part for block in blocks for part in ([block] if 2 * len(block) > _HEADS else block[:, None])]
