"""A graph in the making: entities and facts by id, in any order, until `finish` makes a `KnowledgeGraph` of them."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin.splits import Fact, spelled_out, split_facts
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array

SPLIT_SEED = 0  # fixed, so that results on a built-in graph can be compared; a new seed makes another benchmark


@dataclasses.dataclass
class Draft:
    """What a builder has collected so far.

    Attributes:
      name: of the graph.
      relation_labels: id -> words, for every relation that the facts may use; its order is that of the graph.
      labels: entity id -> human name.
      texts: entity id -> what the model may read; empty for none.
      images: entity id -> files relative to the image root.
      facts: (head, relation, tail) by id.
    """

    name: str
    relation_labels: dict[str, str]
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    images: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    facts: set[Fact] = dataclasses.field(default_factory=set)

    def entity(self, entity: str, label: str, text: str | None = None, images: tuple[str, ...] = ()) -> str:
        """Adds an entity, or does nothing where it is there already, and returns its id.

        Args:
          entity: id, readable and unique across kinds ("country:FRA").
          label: human name.
          text: the label where left out; "" for no text.
          images: files relative to the image root.

        Raises:
          DataError: the id stands for another name already.
        """
        if self.labels.setdefault(entity, label) != label:
            raise DataError(f"{self.name}: {entity} is both {self.labels[entity]!r} and {label!r}; make the ids differ.")
        self.texts.setdefault(entity, label if text is None else text)
        self.images.setdefault(entity, images)
        return entity

    def fact(self, head: str, relation: str, tail: str) -> None:
        """Adds a fact between two entities that are there or will be."""
        self.facts.add((head, relation, tail))

    def finish(self, image_root: pathlib.Path | None = None) -> KnowledgeGraph:
        """Splits the facts and numbers entities in the order of their ids.

        Entities without a fact are left out: no message reaches them and no question asks for them. Facts that a text
        spells out stay in train, see `spelled_out`.
        """
        entities = sorted({entity for head, _, tail in self.facts for entity in (head, tail)})
        relations = list(self.relation_labels)
        readable = spelled_out(self.facts, self.labels, self.texts)
        train, valid, test = (_numbered(split, entities, relations) for split in split_facts(self.facts, SPLIT_SEED, readable))
        return KnowledgeGraph(
            name=self.name,
            entities=tuple(entities),
            relations=tuple(relations),
            train=train,
            valid=valid,
            test=test,
            labels=tuple(self.labels[entity] for entity in entities),
            texts=tuple(self.texts[entity] for entity in entities),
            images=tuple(self.images[entity] for entity in entities),
            image_root=image_root,
            relation_labels=tuple(self.relation_labels.values()),
        )


def _numbered(facts: Sequence[Fact], entities: Sequence[str], relations: Sequence[str]) -> Array:
    """Facts by id as int32 [F, 3] of positions."""
    entity_number = {entity: number for number, entity in enumerate(entities)}
    relation_number = {relation: number for number, relation in enumerate(relations)}
    rows = [(entity_number[head], relation_number[relation], entity_number[tail]) for head, relation, tail in facts]
    return np.array(rows, np.int32).reshape(-1, 3)
