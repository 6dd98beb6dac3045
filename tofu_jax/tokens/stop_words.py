"""English stop words: those of the Glasgow Information Retrieval Group, as scikit-learn has them."""

import functools
import importlib.util
import pathlib
import runpy


@functools.cache
def english_stop_words() -> frozenset[str]:
    """318 words, lower case: `sklearn.feature_extraction.text.ENGLISH_STOP_WORDS`.

    They are read from their file, since importing scikit-learn takes more than a second; the import is what is left where a
    version keeps them elsewhere.
    """
    package = importlib.util.find_spec("sklearn")
    try:
        words = runpy.run_path(str(pathlib.Path(package.origin).parent / "feature_extraction" / "_stop_words.py"))
        return words["ENGLISH_STOP_WORDS"]
    except (OSError, KeyError):
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return ENGLISH_STOP_WORDS
