"""Facts that stand more than once: within a split, in two splits, backwards, or by a relation that says the same."""

from collections.abc import Iterator

import numpy as np

from tofu_jax.graphs.check.facts import EXAMPLES, HELD_OUT, Facts, amount, counted, reverse
from tofu_jax.graphs.check.findings import Finding, Grade
from tofu_jax.graphs.check.overlaps import FEWEST_FACTS, MOST, Implication, Overlaps, implications
from tofu_jax.shapes import Array

SERIOUS = 0.25  # share of a split from which on an indirect leak says more about the figures than the model does


def repeated_facts(facts: Facts, split: str) -> list[Finding]:
    """Lines that repeat an earlier line of their split."""
    keys, rows = facts.sorted_keys(split)
    group_start = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
    group = np.repeat(group_start, np.diff(np.append(group_start, len(keys))))
    again = np.flatnonzero(group != np.arange(len(keys)))
    again = again[np.argsort(rows[again])]
    later, first = rows[again], rows[group[again]]
    if not len(later):
        return []
    file, total = facts.files[split], len(keys)
    harm = "A fact counts once in training, so nothing has to be done." if split == "train" else "Repeated facts weigh more."
    return [
        Finding(
            grade="note" if split == "train" else "warning",
            kind="repeated fact",
            what=f"{counted(len(later), total, f'lines of {file}')} repeat an earlier line.",
            todo=f"{harm} Keep one line for each fact.",
            count=len(later),
            examples=[
                f"{facts.place(split, a)} repeats {facts.place(split, b)}  {facts.fact(split, a)}"
                for a, b in zip(later[:EXAMPLES], first[:EXAMPLES], strict=True)
            ],
            lines={file: facts.lines(split, later), f"{file} (first)": facts.lines(split, first)},
        )
    ]


def facts_in_two_splits(facts: Facts, earlier: str, later: str) -> list[Finding]:
    """Facts of `later` that stand in `earlier` too."""
    todo = {
        ("train", "test"): "The model is tested on facts it was shown. Remove these lines from either file.",
        ("train", "valid"): "Models would be selected by what they memorised. Remove these lines, or hold out a part of train.",
        ("valid", "test"): "Models would be selected on facts they are tested on. Remove these lines from either file.",
    }[earlier, later]
    found = facts.first_rows(earlier, facts.split(later).triples)
    where = f"also stand in {facts.files.get(earlier)}"
    return _answered(facts, "fact in two splits", "error", (later, earlier), found, where, todo)


def reversed_facts(facts: Facts, split: str) -> list[Finding]:
    """Held-out facts whose reverse by the same relation is in train."""
    triples = facts.split(split).triples
    found = facts.first_rows("train", reverse(triples))
    found[triples[:, 0] == triples[:, 2]] = -1
    grade = _grade(int((found >= 0).sum()), len(triples))
    where = f"stand in {facts.files.get('train')} with head and tail exchanged, by the same relation"
    todo = (
        "A model that copies facts backwards answers them. Where a relation is symmetric, keep both directions of a fact in "
        "one split, or keep one direction only."
    )
    return _answered(facts, "reversed fact", grade, (split, "train"), found, where, todo)


def overlapping_relations(facts: Facts, overlaps: Overlaps, backwards: bool) -> list[Finding]:
    """Relations that say the same, or the same backwards, and the held-out facts that train answers by them."""
    rules = implications(overlaps, backwards)
    if not rules:
        return []
    weights = np.zeros(len(rules), np.int64)
    first: dict[int, str] = {}
    leaks, grades = [], []
    lines: dict[str, list[int]] = {}
    for split in HELD_OUT:
        by_rule = list(_answers(facts, split, rules))
        answered = np.full(len(facts.split(split).triples), -1, np.int64)
        for i, (rows, found) in reversed(list(enumerate(by_rule))):  # the surest rule comes last and stays
            answered[rows] = found
            weights[i] += len(rows)
            if len(rows):
                first[i] = f", such as {facts.place(split, rows[0])} by {facts.place('train', found[0])}"
        rows = np.flatnonzero(answered >= 0)
        if len(rows):
            file = facts.files[split]
            grades.append(_grade(len(rows), len(answered)))
            leaks.append(counted(len(rows), len(answered), f"facts of {file}"))
            lines[file] = facts.lines(split, rows)
            lines[f"{facts.files['train']} (answers {file})"] = facts.lines("train", answered[rows])
    examples = [
        f"{_in_words(facts, rules[i], overlaps)}; held-out facts answered: {weights[i]:,}{first.get(i, '')}"
        for i in np.argsort(-weights, kind="stable")[:EXAMPLES].tolist()
    ]
    pairs = {(min(rule.body, rule.head), max(rule.body, rule.head)) for rule in rules}
    same, how = ("the same backwards", " with head and tail exchanged") if backwards else ("the same", "")
    leak = f" Training facts answer {' and '.join(leaks)} that way." if leaks else ""
    return [
        Finding(
            grade="error" if "error" in grades else "warning" if grades else "note",
            kind="inverse relations" if backwards else "duplicate relations",
            what=f"{amount(len(pairs), 'pair')} of relations say {same}: {MOST:.0%} or more of the facts of one (and at least "
            f"{FEWEST_FACTS}) are facts of the other{how}.{leak}",
            todo="Keep one relation of each pair, or put facts between the same two entities into one split.",
            count=len(pairs),
            examples=examples,
            lines=lines,
            names=[[facts.raw.relations[i] for i in pair] for pair in sorted(pairs)],
        )
    ]


def symmetric_relations(facts: Facts, overlaps: Overlaps) -> list[Finding]:
    """Relations of which most facts stand in both directions."""
    share = overlaps.symmetric
    chosen = np.flatnonzero((share >= MOST) & (overlaps.sizes >= FEWEST_FACTS))
    chosen = chosen[np.argsort(-overlaps.sizes[chosen], kind="stable")]
    if not len(chosen):
        return []
    count, total = int(overlaps.sizes[chosen].sum()), int(overlaps.sizes.sum())
    return [
        Finding(
            grade="note",
            kind="symmetric relations",
            what=f"{amount(len(chosen), 'relation')} with {counted(count, total, 'facts')}: symmetric, {MOST:.0%} or more of "
            "the facts stand in both directions.",
            todo="Nothing, as long as both directions of a fact stand in one split.",
            count=len(chosen),
            examples=[
                f"{facts.relation(i)}: {share[i]:.0%} of {overlaps.sizes[i]:,} facts" for i in chosen[:EXAMPLES].tolist()
            ],
            names=[[facts.raw.relations[i]] for i in chosen.tolist()],
        )
    ]


def _grade(answered: int, total: int) -> Grade:
    return "error" if answered >= SERIOUS * total else "warning"


def _answered(
    facts: Facts, kind: str, grade: Grade, splits: tuple[str, str], found: Array, where: str, todo: str
) -> list[Finding]:
    """A finding on the rows of splits[0] whose answer stands in row found[row] of splits[1], if there are any."""
    split, other = splits
    rows = np.flatnonzero(found >= 0)
    if not len(rows):
        return []
    file, total = facts.files[split], len(found)
    return [
        Finding(
            grade=grade,
            kind=kind,
            what=f"{counted(len(rows), total, f'facts of {file}')} {where}.",
            todo=todo,
            count=len(rows),
            examples=[
                f"{facts.place(split, row)} = {facts.place(other, found[row])}  {facts.fact(split, row)}"
                for row in rows[:EXAMPLES]
            ],
            lines={file: facts.lines(split, rows), facts.files[other]: facts.lines(other, found[rows])},
        )
    ]


def _answers(facts: Facts, split: str, rules: list[Implication]) -> Iterator[tuple[Array, Array]]:
    """Yields, for each rule, the rows of a held-out split that train answers by it and the training rows that do."""
    triples = facts.split(split).triples
    by_relation = np.argsort(triples[:, 1], kind="stable")
    bounds = np.searchsorted(triples[by_relation, 1], np.arange(len(facts.raw.relations) + 1))
    for rule in rules:
        rows = by_relation[bounds[rule.head] : bounds[rule.head + 1]]
        body = triples[rows]
        body = reverse(body).copy() if rule.backwards else body
        body[:, 1] = rule.body
        found = facts.first_rows("train", body)
        answered = (found >= 0) & (body[:, 0] != body[:, 2])
        yield rows[answered], found[answered]


def _in_words(facts: Facts, rule: Implication, overlaps: Overlaps) -> str:
    how = " backwards" if rule.backwards else ""
    facts_of_body = f"{rule.share:.0%} of {overlaps.sizes[rule.body]:,} facts"
    return f"{facts.relation(rule.body)} → {facts.relation(rule.head)}{how}: {facts_of_body}"
