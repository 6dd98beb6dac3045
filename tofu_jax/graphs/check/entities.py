"""Entities and relations: which are unknown to the training graph, badly connected, or without text and image."""

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from tofu_jax.graphs.check.facts import EXAMPLES, HELD_OUT, SPLITS, Facts, amount, counted, shown
from tofu_jax.graphs.check.findings import Finding
from tofu_jax.shapes import Array


def degrees(facts: Facts) -> dict[str, Array]:
    """int64 [N] each: in how many distinct training facts an entity stands as "head", as "tail", and the sum, "both"."""
    train, num_entities = facts.distinct("train"), len(facts.raw.entities)
    head, tail = (np.bincount(train[:, side], minlength=num_entities) for side in (0, 2))
    return {"both": head + tail, "head": head, "tail": tail}


def components(facts: Facts) -> tuple[Array, Array]:
    """Connected components of the training graph, directions ignored.

    Returns:
      int32 [N] component of each entity, and int64 [components] sizes; an entity in no training fact is one by itself.
    """
    train, num_entities = facts.split("train").triples, len(facts.raw.entities)
    ones = np.ones(len(train), np.int8)
    links = scipy.sparse.coo_array((ones, (train[:, 0], train[:, 2])), shape=(num_entities, num_entities))
    count, component = connected_components(links, directed=False)
    return component, np.bincount(component, minlength=count)


def unseen_in_train(facts: Facts, degree: Array, with_text: Array, with_image: Array) -> list[Finding]:
    """Entities and relations of held-out facts that stand in no training fact.

    Args:
      facts: of the graph.
      degree: int64 [N] in train.
      with_text, with_image: bool [N].
    """
    known = np.zeros(len(facts.raw.relations), bool)
    known[facts.split("train").triples[:, 1]] = True
    described = with_text | with_image
    return [
        *_unseen(
            facts,
            (degree == 0) & ~described,
            (0, 2),
            ("error", "unknown entities", ", without text or image"),
            "Nothing can tell them from one another. Correct the names, describe them in entity2text.tsv, or remove the lines "
            "(--keep_unseen_entities ranks them all the same).",
        ),
        *_unseen(
            facts,
            (degree == 0) & described,
            (0, 2),
            ("warning", "entities unseen in train", "; only text or image tells them apart"),
            "Correct the names if they are misspelt; otherwise expect low ranks, or move a fact of each to train.",
        ),
        *_unseen(
            facts,
            ~known,
            (1,),
            ("warning", "relations unseen in train", ""),
            "The model learns a relation from example facts: move some to train, or remove the lines.",
        ),
    ]


def self_loops(facts: Facts) -> list[Finding]:
    """Facts of which head and tail are the same."""
    rows = {split: np.flatnonzero(np.equal(*facts.split(split).triples[:, [0, 2]].T)) for split in facts.files}
    count, total = sum(map(len, rows.values())), sum(len(facts.split(split).triples) for split in facts.files)
    if not count:
        return []
    return [
        Finding(
            grade="warning",
            kind="self loops",
            what=f"{counted(count, total, 'facts')} have the same head and tail.",
            todo="Remove them unless they are meant: they say nothing about other entities.",
            count=count,
            examples=_fact_examples(facts, rows),
            lines=_lines(facts, rows),
        )
    ]


def weakly_linked(facts: Facts, degree: Array, component: Array, sizes: Array) -> list[Finding]:
    """Entities of few facts, parts of the graph that do not hang together, and held-out facts between them."""
    findings = []
    num_entities, single = len(degree), int((degree == 1).sum())
    if single:
        findings.append(
            Finding(
                grade="note",
                kind="entities of one fact",
                what=f"{counted(single, num_entities, 'entities')} stand in one training fact only.",
                todo="Expect low ranks for them; text and images help most here.",
                count=single,
                examples=[
                    f"{facts.first_place_of(i)}  {facts.entity(i)}" for i in np.flatnonzero(degree == 1)[:EXAMPLES].tolist()
                ],
            )
        )
    in_no_fact = degree == 0
    for split in HELD_OUT:
        in_no_fact[facts.split(split).triples[:, [0, 2]].ravel()] = False
    isolated = np.flatnonzero(in_no_fact)
    if len(isolated):
        findings.append(
            Finding(
                grade="note",
                kind="isolated entities",
                what=f"{counted(len(isolated), num_entities, 'entities')} stand in no fact.",
                todo="Remove them, or link them: they are candidates for every query, but nothing links them to it.",
                count=len(isolated),
                examples=[facts.entity(i) for i in isolated[:EXAMPLES].tolist()],
                names=[[facts.raw.entities[i]] for i in isolated.tolist()],
            )
        )
    return findings + _separate_parts(facts, degree, component, sizes)


def incomplete_coverage(facts: Facts, with_text: Array, with_image: Array, missing: list[str], listed: int) -> list[Finding]:
    """Entities without text or image, and image files that are listed but not there.

    Args:
      facts: of the graph.
      with_text, with_image: bool [N].
      missing: image files that are not there.
      listed: distinct image files that are listed.
    """
    findings = []
    for what, has, file in (("text", with_text, "entity2text.tsv"), ("image", with_image, "entity2image.tsv")):
        without = np.flatnonzero(~has)
        if len(without):
            findings.append(
                Finding(
                    grade="note",
                    kind=f"entities without {what}",
                    what=f"{counted(len(without), len(has), 'entities')} have no {what}.",
                    todo=f"The model does without. To add some: {file}, see tofu_jax/graphs/readers/__init__.py.",
                    count=len(without),
                    examples=[facts.entity(i) for i in without[:EXAMPLES].tolist()] if has.any() else [],
                )
            )
    if missing:
        findings.append(
            Finding(
                grade="warning",
                kind="missing image files",
                what=f"{counted(len(missing), listed, 'listed image files')} are not there.",
                todo=f"Put them below {facts.raw.image_root}, or remove their lines; until then they count as no image.",
                count=len(missing),
                examples=[shown(path) for path in missing[:EXAMPLES]],
                names=[[path] for path in missing],
            )
        )
    return findings


def missing_images(facts: Facts) -> tuple[list[str], int]:
    """Listed image files that are not there, and how many are listed; each file once."""
    paths = dict.fromkeys(path for images in facts.raw.images for path in images)
    root = facts.raw.image_root
    return [path for path in paths if root is None or not (root / path).is_file()], len(paths)


def _unseen(facts: Facts, unseen: Array, columns: tuple[int, ...], finding: tuple[str, str, str], todo: str) -> list[Finding]:
    """A finding on the held-out facts that name an unseen entity (columns 0, 2) or relation (column 1), if there are any."""
    grade, kind, what = finding
    rows = {split: np.flatnonzero(unseen[facts.split(split).triples[:, columns]].any(axis=1)) for split in HELD_OUT}
    rows = {split: found for split, found in rows.items() if len(found)}
    if not rows:
        return []
    used = [facts.split(split).triples[found][:, columns].ravel() for split, found in rows.items()]
    ids = np.unique(np.concatenate(used))
    ids = ids[unseen[ids]].tolist()
    all_names, named = (facts.raw.relations, facts.relation) if columns == (1,) else (facts.raw.entities, facts.entity)
    names = amount(len(ids), "relation") if columns == (1,) else amount(len(ids), "entity", "entities")
    places = " and ".join(f"{amount(len(found), 'fact')} of {facts.files[split]}" for split, found in rows.items())
    examples = []
    for split, found in rows.items():
        for row in found[: EXAMPLES - len(examples)]:
            new = [named(i) for i in facts.split(split).triples[row, columns].tolist() if unseen[i]]
            examples.append(f"{facts.place(split, row)}  {', '.join(dict.fromkeys(new))}")
    return [
        Finding(
            grade=grade,
            kind=kind,
            what=f"Not in {facts.files['train']}: {names}, named in {places}{what}.",
            todo=todo,
            count=len(ids),
            examples=examples,
            lines=_lines(facts, rows),
            names=[[all_names[i]] for i in ids],
        )
    ]


def _separate_parts(facts: Facts, degree: Array, component: Array, sizes: Array) -> list[Finding]:
    """Whether the training graph hangs together, entities without training facts aside."""
    linked = degree > 0
    parts = np.unique(component[linked])
    if len(parts) < 2:
        return []
    rows = {}
    for split in HELD_OUT:
        head, _, tail = facts.split(split).triples.T
        rows[split] = np.flatnonzero((component[head] != component[tail]) & linked[head] & linked[tail])
    held_out = sum(map(len, rows.values()))
    largest = int(sizes[parts].max())
    across = f" {amount(held_out, 'held-out fact')} from one part to another." if held_out else ""
    return [
        Finding(
            grade="note",
            kind="separate parts",
            what=f"The training graph falls into {amount(len(parts), 'part')} without a link between them; the largest has "
            f"{counted(largest, int(linked.sum()), 'entities')}.{across}",
            todo="No path leads from one part to another: only text and images can answer such queries.",
            count=len(parts),
            examples=_fact_examples(facts, rows),
            lines=_lines(facts, rows),
        )
    ]


def _fact_examples(facts: Facts, rows: dict[str, Array]) -> list[str]:
    places = [(split, row) for split in SPLITS for row in rows.get(split, [])[:EXAMPLES]]
    return [f"{facts.place(split, row)}  {facts.fact(split, row)}" for split, row in places[:EXAMPLES]]


def _lines(facts: Facts, rows: dict[str, Array]) -> dict[str, list[int]]:
    return {facts.files[split]: facts.lines(split, found) for split, found in rows.items() if len(found)}
