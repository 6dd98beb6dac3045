"""English stop words: those of the Glasgow Information Retrieval Group, as scikit-learn has them."""

import functools
import importlib.util
import pathlib
import runpy


@functools.cache
def english_stop_words() -> frozenset[str]:
    """318 words, lower case; `sklearn.feature_extraction.text.ENGLISH_STOP_WORDS`, without importing that for one list.

    The import takes longer than all else that is done before a text is read.
    """
    package = importlib.util.find_spec("sklearn")
    try:
        words = runpy.run_path(str(pathlib.Path(package.origin).parent / "feature_extraction" / "_stop_words.py"))
        return words["ENGLISH_STOP_WORDS"]
    except (OSError, KeyError):  # a version that keeps it elsewhere
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return ENGLISH_STOP_WORDS
