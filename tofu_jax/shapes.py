"""Axis letters, the same in code and docstrings.

B  queries                              N  entities of a graph (padded)
Q  distinct query relations, B = Q·H    H  heads per query relation
E  directed edges (inverses included)   F  facts, E = 2·F before padding
R  relation types (inverses included)   d  width of a state
L  layers of the graph encoder          M  example prompts per relation
T  text tokens per entity               V  image tokens per entity
P  nodes of a prompt graph              S  edges of a prompt graph
K  message experts                      c  width of a frozen codebook

Relation r of a graph with R/2 relation names has the inverse r + R/2 (and back), see `inverse_relation`.
"""

import numpy as np

Array = np.ndarray


def inverse_relation(relation: Array | int, num_relations: int) -> Array | int:
    """Ids of the inverse relations.

    Args:
      relation: ids in 0..R-1, any shape.
      num_relations: R, inverses included (even).

    Returns:
      Ids of the same shape; applying the function twice gives the input.
    """
    return (relation + num_relations // 2) % num_relations
