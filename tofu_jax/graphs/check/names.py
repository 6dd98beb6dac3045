"""Ids and labels that were probably meant to be one, or that hold what nobody sees."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from tofu_jax.graphs.check.facts import EXAMPLES, Facts, amount, counted, shown
from tofu_jax.graphs.check.findings import Finding

# Control characters, line breaks of Unicode, zero-width space, marks that turn the direction of writing, byte order marks,
# and what a decoder puts for bytes that it did not understand. Joiners are left out: Persian, Hindi and emoji need them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b\u202a-\u202e\u2060-\u2069\ufeff\ufffd]")
_BLANKS = re.compile(r"[\s_]+")


def odd_names(facts: Facts) -> list[Finding]:
    """Labels and ids with characters that nobody sees, or with blanks around them."""
    raw = facts.raw
    findings = []
    for kind, is_odd, what, todo in (
        (
            "unseen characters",
            lambda name: _UNSEEN.search(name) is not None,
            "hold control characters or others that cannot be seen",
            "They are mostly left from an export or a wrong encoding; remove them.",
        ),
        (
            "surrounding blanks",
            lambda name: name != name.strip(),
            "begin or end with a blank",
            "Remove the blanks: with and without them are different names.",
        ),
    ):
        entities = _odd(raw.entities, raw.labels, is_odd)
        relations = _odd(raw.relations, raw.relation_labels, is_odd)
        if entities or relations:
            ids = [raw.entities[i] for i in entities] + [raw.relations[i] for i in relations]
            whose = f"{amount(len(entities), 'entity', 'entities')} and {amount(len(relations), 'relation')}"
            findings.append(
                Finding(
                    grade="warning",
                    kind=kind,
                    what=f"Names of {whose} {what}.",
                    todo=todo,
                    count=len(ids),
                    examples=[
                        *(f"{facts.first_place_of(i)}  {_quoted(raw.entities[i], raw.labels[i])}" for i in entities[:EXAMPLES]),
                        *(_quoted(raw.relations[i], raw.relation_labels[i]) for i in relations[:EXAMPLES]),
                    ],
                    names=[[name] for name in ids],
                )
            )
    return findings


def equal_labels(facts: Facts) -> list[Finding]:
    """Entities of equal label: probably doubles where the descriptions are equal too, else only hard to tell apart."""
    raw = facts.raw
    groups = _groups(raw.labels, lambda label: label)
    described = [_same_description(facts, group) for group in groups]
    findings = []
    for same, grade, kind, what, todo in (
        (
            True,
            "warning",
            "probable doubles",
            "have another's label and description",
            "If they are the same thing, give them one id; facts that they share may stand in two splits.",
        ),
        (
            False,
            "note",
            "equal labels",
            "have another's label",
            "Reports show labels: give them names that people can tell apart, or read the ids beside them.",
        ),
    ):
        chosen = [group for group, is_same in zip(groups, described, strict=True) if is_same is same]
        if chosen:
            count = sum(map(len, chosen))
            findings.append(
                Finding(
                    grade=grade,
                    kind=kind,
                    what=f"{counted(count, len(raw.entities), 'entities')} {what}, in {amount(len(chosen), 'group')}.",
                    todo=todo,
                    count=count,
                    examples=[
                        f"{shown(raw.labels[group[0]])}: {_listed(raw.entities[i] for i in group)}"
                        for group in chosen[:EXAMPLES]
                    ],
                    names=[[raw.entities[i] for i in group] for group in chosen],
                )
            )
    return findings


def nearly_equal_ids(facts: Facts) -> list[Finding]:
    """Ids that differ only in case, in blanks or underscores, or in the Unicode normal form."""
    findings = []
    for what, ids in (("entity", facts.raw.entities), ("relation", facts.raw.relations)):
        groups = _groups(ids, _plain)
        if groups:
            count = sum(map(len, groups))
            which = counted(count, len(ids), f"{what} ids")
            findings.append(
                Finding(
                    grade="warning",
                    kind=f"nearly equal {what} ids",
                    what=f"{which} differ from another only in case, blanks or Unicode normal form.",
                    todo="If they are the same thing, write them alike: different ids are different things to the model.",
                    count=count,
                    examples=[_listed(_told_apart([ids[i] for i in group])) for group in groups[:EXAMPLES]],
                    names=[[ids[i] for i in group] for group in groups],
                )
            )
    return findings


def _odd(ids: tuple[str, ...], labels: tuple[str, ...], is_odd: Callable[[str], bool]) -> list[int]:
    return [i for i, (name, label) in enumerate(zip(ids, labels, strict=True)) if is_odd(name) or is_odd(label)]


def _quoted(name: str, label: str) -> str:
    return shown(repr(name)) if label == name else f"{shown(repr(label))} ({shown(repr(name))})"


def _groups(names: Iterable[str], key: Callable[[str], str]) -> list[list[int]]:
    """Positions of names of equal key, two or more each."""
    first: dict[str, int] = {}
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        same = key(name)
        earlier = first.setdefault(same, position)
        if earlier != position:
            groups.setdefault(same, [earlier]).append(position)
    return list(groups.values())


def _plain(name: str) -> str:
    normal = name if name.isascii() else unicodedata.normalize("NFC", name)
    return _BLANKS.sub(" ", normal).strip().casefold()


def _told_apart(names: list[str]) -> list[str]:
    """Names in quotes, escaped where two of them look the same."""
    alike = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    return [ascii(name) if alike else repr(name) for name in names]


def _same_description(facts: Facts, group: list[int]) -> bool:
    """Whether all have one text that says more than their label."""
    texts = {facts.raw.texts[i] for i in group}
    return len(texts) == 1 and len(texts.pop().strip()) > len(facts.raw.labels[group[0]])


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return ", ".join(map(shown, names[:EXAMPLES])) + more
