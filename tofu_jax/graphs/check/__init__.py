"""What is odd in a graph, before anything is trained or measured on it: the logic of `tofu-jax check`."""

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.check import entities, leakage, names
from tofu_jax.graphs.check.facts import HELD_OUT, SPLITS, Facts, sorted_distinct
from tofu_jax.graphs.check.findings import GRADES, Finding, GraphCheck, RelationRow
from tofu_jax.graphs.check.overlaps import Overlaps, relation_overlaps
from tofu_jax.graphs.knowledge_graph import MOST_NAMES
from tofu_jax.graphs.raw import RawGraph
from tofu_jax.shapes import Array

MANY = 1.5  # tails per head (heads per tail) from which on a relation counts as 1-N (N-1), as in Bordes et al. (2013)
_HUBS = 10


def check_graph(raw: RawGraph) -> GraphCheck:
    """Looks at a graph as it stands in its files and says what is wrong or odd about it.

    Args:
      raw: the graph. Nothing of it is changed.

    Returns:
      Findings and figures.

    Raises:
      DataError: there are too many entities or relations for one graph.
    """
    if max(len(raw.entities), len(raw.relations)) > MOST_NAMES:
        raise DataError(f"{raw.name}: more than {MOST_NAMES:,} entities or relations; split the graph.")
    facts = Facts(raw)
    overlaps = relation_overlaps(facts)
    degrees = entities.degrees(facts)
    component, sizes = entities.components(facts)
    with_text = np.array([bool(text.strip()) for text in raw.texts], bool)
    with_image = np.array([bool(images) for images in raw.images], bool)
    missing, listed = entities.missing_images(facts)
    findings = [
        *_leaks(facts, overlaps),
        *entities.unseen_in_train(facts, degrees["both"], with_text, with_image),
        *entities.self_loops(facts),
        *names.odd_names(facts),
        *names.nearly_equal_ids(facts),
        *names.equal_labels(facts),
        *entities.incomplete_coverage(facts, with_text, with_image, missing, listed),
        *leakage.symmetric_relations(facts, overlaps),
        *entities.weakly_linked(facts, degrees["both"], component, sizes),
    ]
    grades = list(GRADES)
    hubs = np.argsort(-degrees["both"], kind="stable")[:_HUBS].tolist()
    return GraphCheck(
        graph=raw.name,
        files={split: str(facts.split(split).source) for split in facts.files},
        facts={split: len(facts.split(split).triples) for split in SPLITS},
        entities=len(raw.entities),
        with_text=int(with_text.sum()),
        with_description=sum(len(text.strip()) > len(label) for text, label in zip(raw.texts, raw.labels, strict=True)),
        with_image=int(with_image.sum()),
        images=listed,
        missing_images=len(missing),
        findings=sorted(findings, key=lambda finding: grades.index(finding.grade)),
        relations=_relation_rows(facts, overlaps),
        degrees={side: _histogram(degree) for side, degree in degrees.items()},
        hubs=[(raw.labels[i], int(degrees["both"][i])) for i in hubs],
        components=_histogram(sizes[np.unique(component[degrees["both"] > 0])])[::-1],
    )


def _leaks(facts: Facts, overlaps: Overlaps) -> list[Finding]:
    findings = []
    for earlier, later in (("train", "test"), ("train", "valid"), ("valid", "test")):
        findings += leakage.facts_in_two_splits(facts, earlier, later)
    for split in reversed(HELD_OUT):
        findings += leakage.reversed_facts(facts, split)
    for backwards in (True, False):
        findings += leakage.overlapping_relations(facts, overlaps, backwards)
    for split in SPLITS:
        findings += leakage.repeated_facts(facts, split)
    return findings


def _relation_rows(facts: Facts, overlaps: Overlaps) -> list[RelationRow]:
    """Figures of every relation, those with most facts first."""
    raw = facts.raw
    count = {split: np.bincount(facts.split(split).triples[:, 1], minlength=len(raw.relations)) for split in SPLITS}
    train = facts.distinct("train")
    distinct = np.bincount(train[:, 1], minlength=len(raw.relations))
    tails_per_head, heads_per_tail = (distinct / np.maximum(_ends(train, side, len(raw.relations)), 1) for side in (0, 2))
    symmetric = overlaps.symmetric
    rows = []
    for i in np.argsort(-sum(count.values()), kind="stable").tolist():
        sides = ("N" if mean[i] >= MANY else "1" for mean in (heads_per_tail, tails_per_head))
        rows.append(
            RelationRow(
                relation=raw.relations[i],
                label=raw.relation_labels[i],
                train=int(count["train"][i]),
                valid=int(count["valid"][i]),
                test=int(count["test"][i]),
                tails_per_head=round(float(tails_per_head[i]), 3),
                heads_per_tail=round(float(heads_per_tail[i]), 3),
                cardinality="-".join(sides) if distinct[i] else "",
                symmetric=round(float(symmetric[i]), 4),
            )
        )
    return rows


def _ends(triples: Array, side: int, num_relations: int) -> Array:
    """int64 [R/2]: how many different entities a relation has on a side (0: heads, 2: tails)."""
    pairs = sorted_distinct(triples[:, side].astype(np.int64) * num_relations + triples[:, 1])
    return np.bincount(pairs % num_relations, minlength=num_relations)


def _histogram(values: Array) -> list[list[int]]:
    """[[value, how often], …], ascending."""
    return np.stack(np.unique(values, return_counts=True), axis=1).tolist()
