"""Finds entities and relations by what people call them: an id of the source, or a label."""

import difflib
import functools
import heapq
import itertools
import unicodedata
from collections.abc import Sequence

from tofu_jax.errors import DataError

_MOST_LISTED = 10  # ids that an error message lists
_SUGGESTIONS = 3
_COMPARED = 200  # names that share most with an unknown one: difflib, thorough and slow, looks at these alone


class NamingError(DataError):
    """A name that leads nowhere; `suggestions` are names to be given instead."""

    def __init__(self, message: str, suggestions: Sequence[str]):
        super().__init__(message)
        self.suggestions = tuple(suggestions)


class UnknownNameError(NamingError):
    """Nothing is called that; `suggestions` are the nearest names."""


class AmbiguousNameError(NamingError):
    """Several are called that; `suggestions` are their ids."""


class Names:
    """The entities, or the relations, of one graph by id and by label."""

    def __init__(self, what: str, graph: str, ids: Sequence[str], labels: Sequence[str]):
        """Indexes the names.

        Args:
          what: "entity" or "relation", and
          graph: its name, for error messages.
          ids: unique; positions in here are what `position` returns.
          labels: of the same length; need not be unique.
        """
        self._what, self._graph, self._ids, self._labels = what, graph, ids, labels
        self._by_id = {name: position for position, name in enumerate(ids)}
        self._by_label: dict[str, list[int]] = {}
        for position, label in enumerate(labels):
            self._by_label.setdefault(label, []).append(position)

    def position(self, name: str) -> int:
        """Position of an id or, where no id is spelled like that, of a label.

        Raises:
          AmbiguousNameError: several carry that label (lists their ids).
          UnknownNameError: nothing is called that (suggests the nearest names).
        """
        if name in self._by_id:
            return self._by_id[name]
        found = self._by_label.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(repr(self._ids[position]) for position in found[:_MOST_LISTED])
            more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
            plural = {"entity": "entities", "relation": "relations"}[self._what]
            raise AmbiguousNameError(
                f"{self._graph}: {len(found)} {plural} are called {name!r}; give the id of one: {listed}{more}.",
                [self._ids[position] for position in found[:_MOST_LISTED]],
            )
        positions = self._nearest(name)
        nearest = " or ".join(map(self._described, positions))
        examples = ", ".join(map(repr, self._ids[:_SUGGESTIONS]))
        hint = f"Did you mean {nearest}?" if nearest else f"Nothing is called like that; {self._what} ids look like {examples}."
        raise UnknownNameError(
            f"{self._graph}: unknown {self._what} {name!r}. {hint}", [self.spelling(position) for position in positions]
        )

    def spelling(self, position: int) -> str:
        """What `position` finds by it: the label where it is nobody else's, or else the id."""
        label = self._labels[position]
        return (
            label
            if self._by_label[label] == [position] and self._by_id.get(label, position) == position
            else self._ids[position]
        )

    def beginning_with(self, text: str, most: int) -> list[int]:
        """Positions of names to complete a text with: those that begin with it, then those that hold it, in whatever case."""
        wanted = _folded(text)
        starts = (positions for name, positions in self._folded_names.items() if name.startswith(wanted))
        others = (positions for name, positions in self._folded_names.items() if wanted in name[1:])
        found: dict[int, None] = {}
        for position in itertools.chain.from_iterable(itertools.chain(starts, others)):
            found[position] = None
            if len(found) >= most:
                break
        return list(found)

    def _described(self, position: int) -> str:
        name, label = self._ids[position], self._labels[position]
        return repr(name) if label == name else f"{label!r} (id {name!r})"

    def _nearest(self, name: str) -> list[int]:
        """Positions of the names that look most like `name`, in whatever case; ids and labels alike."""
        wanted = _folded(name)
        pieces = {wanted[i : i + 2] for i in range(max(len(wanted) - 1, 1))}

        def shared(other: str) -> tuple[int, int]:
            return sum(piece in other for piece in pieces), -abs(len(other) - len(wanted))

        promising = heapq.nlargest(_COMPARED, self._folded_names, key=shared)
        nearest = difflib.get_close_matches(wanted, promising, n=_SUGGESTIONS, cutoff=0.6)
        return list(dict.fromkeys(self._folded_names[other][0] for other in nearest))

    @functools.cached_property
    def _folded_names(self) -> dict[str, list[int]]:
        """Every label and id as `_folded` spells it, in the alphabet's order, and who is called that, labels first."""
        spelled: dict[str, list[int]] = {}
        for names in (self._labels, self._ids):
            for position, name in enumerate(names):
                spelled.setdefault(_folded(name), []).append(position)
        return dict(sorted(spelled.items()))


def _folded(name: str) -> str:
    """One spelling for what looks alike: composed or not, upper or lower case."""
    return unicodedata.normalize("NFKC", name).casefold()
