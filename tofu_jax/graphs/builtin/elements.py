"""The periodic table of elements, from mendeleev."""

import contextlib
import importlib.util
import pathlib
import re
import sqlite3

from tofu_jax.graphs.builtin.draft import Draft
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph

RELATIONS = {
    "in_group": "stands in the group",
    "in_period": "stands in the period",
    "in_block": "belongs to the block",
    "in_series": "belongs to the series",
    "next_element": "is followed in the periodic table by",
    "element_below": "has right below it in the periodic table",
    "crystal_structure": "has the crystal structure",
    "goldschmidt_class": "has the Goldschmidt class",
    "geochemical_class": "has the geochemical class",
    "main_oxidation_state": "has the main oxidation state",
    "other_oxidation_state": "has the less common oxidation state",
    "discovered_by": "was discovered by",
    "discovered_in": "was discovered in the country",
    "discovered_in_decade": "was discovered in the decade",
    "mined_in": "is produced most in",
    "reserves_in": "has its largest reserves in",
    "name_from": "has its name or symbol from the language",
}

CRYSTAL_STRUCTURES = {  # abbreviations of the package
    "BCC": "body-centred cubic",
    "CUB": "cubic",
    "DIA": "diamond cubic",
    "FCC": "face-centred cubic",
    "HEX": "hexagonal",
    "MCL": "monoclinic",
    "ORC": "orthorhombic",
    "RHL": "rhombohedral",
    "SC": "simple cubic",
    "TET": "tetragonal",
}
ONE_SPELLING = {  # of names that the package writes in several ways
    "Austrailia": "Australia",
    "Germany (likely)": "Germany",
    "CIS Countries (inc. Russia)": "Commonwealth of Independent States",
    "DRC": "Democratic Republic of the Congo",
    "Kyrgzstan": "Kyrgyzstan",
    "Sir William Ramsey": "Sir William Ramsay",
    "USA": "United States",
    "USSR": "Russia",
}
LANGUAGES = re.compile(r"\b(Anglo-Saxon|English|German|Greek|Italian|Latin|Spanish|Swedish):")
INSTITUTES = re.compile(r"Institute|Laboratory|Research")  # discoverers that have no surname
# Sentences that tell who found an element, when and where, or how it got its name: four relations ask for that.
HISTORY = re.compile(
    r"discover|isolated|prepared|confirmed|synthesi[sz]ed|first|word|\bnamed?\b|\b1[5-9]\d\d\b|\b20\d\d\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[a-z0-9).][.!?)])\s+(?=[A-Z])")  # not after an initial ("G. T. Seaborg")


def elements_graph() -> KnowledgeGraph:
    """The chemical elements, their places in the table, properties and history; no images.

    Entities: elements, groups, periods, blocks, series, crystal structures, classes, oxidation states, discoverers,
    decades, countries and languages. An element's text is its name with the package's description and uses, without
    the sentences that tell its history. The descriptions may still hint at the series ("soft silvery metal") as any
    description does; where one spells a fact out ("group 14"), that fact is not held out. `next_element` and
    `element_below` stand once, without their inverses.

    Source: mendeleev (MIT).

    Raises:
      ModuleNotFoundError: the package is missing.
    """
    draft = Draft("elements", RELATIONS)
    with contextlib.closing(_open_database()) as database:
        _add_elements(draft, database)
        _add_table(draft, database)
        _add_oxidation_states(draft, database)
        _add_history(draft, database)
        _add_sources(draft, database)
    return draft.finish()


def _open_database() -> sqlite3.Connection:
    """The SQLite file of the installed package; importing the package itself takes seconds and brings in pandas."""
    package = importlib.util.find_spec("mendeleev")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("mendeleev is not installed", name="mendeleev")
    path = pathlib.Path(package.submodule_search_locations[0]) / "elements.db"
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)


def _add_elements(draft: Draft, database: sqlite3.Connection) -> None:
    """The elements themselves, with their texts."""
    for symbol, name, *paragraphs in database.execute("SELECT symbol, name, description, uses FROM elements"):
        sentences = [sentence for text in paragraphs if text for sentence in SENTENCE_END.split(text.strip())]
        kept = [sentence for sentence in sentences if not HISTORY.search(sentence)]
        draft.entity(f"element:{symbol}", name, " ".join([f"{name}.", *kept]))


def _add_table(draft: Draft, database: sqlite3.Connection) -> None:
    """Place in the table, neighbours to the right and below, and the classes of an element."""
    series = dict(database.execute("SELECT id, name FROM series"))
    columns = "symbol, group_id, period, block, series_id, lattice_structure, goldschmidt_class, geochemical_class"
    before, above = "", {}
    for row in database.execute(f"SELECT {columns} FROM elements ORDER BY atomic_number"):  # noqa: S608 (constant)
        symbol, group, period, block, series_id, lattice, goldschmidt, geochemical = row
        element = f"element:{symbol}"
        if before:
            draft.fact(before, "next_element", element)
        before = element
        if group:
            draft.fact(element, "in_group", draft.entity(f"group:{group}", f"group {group}"))
            if group in above:
                draft.fact(above[group], "element_below", element)
            above[group] = element
        draft.fact(element, "in_period", draft.entity(f"period:{period}", f"period {period}"))
        draft.fact(element, "in_block", draft.entity(f"block:{block}", f"{block}-block"))
        draft.fact(element, "in_series", draft.entity(f"series:{series[series_id]}", series[series_id]))
        if lattice:
            structure = draft.entity(f"crystal:{lattice}", CRYSTAL_STRUCTURES.get(lattice, lattice))
            draft.fact(element, "crystal_structure", structure)
        if goldschmidt:
            name = goldschmidt.replace("litophile", "lithophile")  # misspelt in the package
            draft.fact(element, "goldschmidt_class", draft.entity(f"goldschmidt:{name}", name))
        if geochemical:
            draft.fact(element, "geochemical_class", draft.entity(f"geochemical:{geochemical}", geochemical))


def _add_oxidation_states(draft: Draft, database: sqlite3.Connection) -> None:
    """Main and less common oxidation states; no state of an element is both."""
    rows = database.execute("SELECT symbol, oxidation_state, category FROM oxidationstates JOIN elements USING (atomic_number)")
    for symbol, number, category in rows:
        state = draft.entity(f"oxidation:{number:+d}", f"oxidation state {number:+d}")
        relation = "main_oxidation_state" if category == "main" else "other_oxidation_state"
        draft.fact(f"element:{symbol}", relation, state)


def _add_history(draft: Draft, database: sqlite3.Connection) -> None:
    """Who found an element, when and where, and the languages of its name."""
    rows = database.execute(
        "SELECT symbol, discoverers, discovery_location, discovery_year, name_origin FROM elements ORDER BY atomic_number"
    ).fetchall()
    names = {row[0]: _discoverers(row[1]) for row in rows}
    longest: dict[str, str] = {}  # the fullest of "J. Berzelius" and "Jöns Berzelius"
    for found in names.values():
        for name in found:
            longest[_surname(name)] = max(longest.get(_surname(name), ""), name, key=len)
    for symbol, _, places, year, origin in rows:
        element = f"element:{symbol}"
        for name in names[symbol]:
            surname = _surname(name)
            draft.fact(element, "discovered_by", draft.entity(f"discoverer:{surname}", longest[surname]))
        for place in (places or "").split("/"):
            _add_country(draft, element, "discovered_in", place)
        if year:
            decade = f"{year // 10}0s"
            draft.fact(element, "discovered_in_decade", draft.entity(f"decade:{decade}", decade))
        for language in LANGUAGES.findall(origin or ""):
            draft.fact(element, "name_from", draft.entity(f"language:{language}", language))


def _discoverers(names: str | None) -> list[str]:
    """Single names out of "Sir William Ramsey, M.W. Travers"; none for what has been known since antiquity."""
    if not names or names.startswith("Known to the ancients"):
        return []
    single = (name.strip().removesuffix(" Jr.") for name in re.split(r"[,;/]", re.sub(r"\s*\(.*?\)", "", names)))
    return [ONE_SPELLING.get(name, name) for name in single if name and name != "et al"]


def _surname(name: str) -> str:
    """What stays the same between two spellings of a discoverer; the whole name of an institute."""
    return name if INSTITUTES.search(name) else re.split(r"[.\s]", name)[-1]


def _add_sources(draft: Draft, database: sqlite3.Connection) -> None:
    """The countries that produce most of an element and those that hold the largest reserves ("1) China  2) USA")."""
    rows = database.execute("SELECT symbol, top_3_producers, top_3_reserve_holders FROM elements")
    for symbol, producers, holders in rows:
        for relation, ranked in (("mined_in", producers), ("reserves_in", holders)):
            for place in re.split(r"\d\)|:", ranked or ""):
                _add_country(draft, f"element:{symbol}", relation, place)


def _add_country(draft: Draft, element: str, relation: str, place: str) -> None:
    """A fact about a country under the one spelling of its name; guesses ("Unknown (likely USA)") are skipped."""
    name = ONE_SPELLING.get(place.strip(), place.strip())
    if name and not name.startswith("Unknown"):
        draft.fact(element, relation, draft.entity(f"country:{name}", name))
