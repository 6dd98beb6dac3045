"""What a check says: graded findings in plain values, which JSON can hold and every display is made from."""

import dataclasses
from typing import Literal

Grade = Literal["error", "warning", "note"]
GRADES: dict[Grade, str] = {
    "error": "makes figures wrong, or keeps a command from using the graph",
    "warning": "probably a mistake, or makes figures look better than they are",
    "note": "good to know",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
      grade: how bad it is, see GRADES.
      kind: what it is in a few words, the same for every graph.
      what: a sentence with the figures.
      todo: what to do about it.
      count: how many facts, entities, relations, … it concerns, as `what` says.
      examples: the first few places.
      lines: file → 1-based lines, all of them; position i of each file's list belongs to position i of the others'.
      names: the ids that it concerns, all of them; those that belong together in one list.
    """

    grade: Grade
    kind: str
    what: str
    todo: str
    count: int
    examples: list[str] = dataclasses.field(default_factory=list)
    lines: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    names: list[list[str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class RelationRow:
    """One relation in figures.

    Attributes:
      relation, label: id and name.
      train, valid, test: facts, repeated ones included.
      tails_per_head: mean number of tails of the heads that have any in train; 0 without facts there.
      heads_per_tail: likewise.
      cardinality: "1-1", "1-N", "N-1" or "N-N": a side is N where its mean is 1.5 or more; empty without facts in train.
      symmetric: share of its facts, over all splits and without self loops, that also stand with head and tail exchanged.
    """

    relation: str
    label: str
    train: int
    valid: int
    test: int
    tails_per_head: float
    heads_per_tail: float
    cardinality: str
    symmetric: float


@dataclasses.dataclass(frozen=True)
class GraphCheck:
    """All that a check found.

    Attributes:
      graph: its name.
      files: split → path.
      facts: split → facts, repeated ones included.
      entities: how many.
      with_text, with_description, with_image: how many entities have a text, one that says more than their label, an image.
      images, missing_images: distinct image files that are listed, and those of them that are not there.
      findings: the gravest first.
      relations: those with most facts first.
      degrees: "both", "head", "tail" → [[degree, entities of this degree], …] over distinct training facts, ascending;
        an entity in no training fact has degree 0.
      hubs: the entities of highest degree: [name, degree].
      components: [[entities, components of so many entities], …] of the training graph, the largest first.
    """

    graph: str
    files: dict[str, str]
    facts: dict[str, int]
    entities: int
    with_text: int
    with_description: int
    with_image: int
    images: int
    missing_images: int
    findings: list[Finding]
    relations: list[RelationRow]
    degrees: dict[str, list[list[int]]]
    hubs: list[tuple[str, int]]
    components: list[list[int]]

    def count(self, grade: Grade) -> int:
        """How many findings have a grade."""
        return sum(finding.grade == grade for finding in self.findings)
