"""F1: whatever stands in a file, a reader returns a graph or raises DataError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writing import FACTS, FORMATS, SPLITS, write_files

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers import read_graph

TABLES = {
    "entity2text.tsv": b"http://x.org/a\tAnna\n",
    "relation2text.csv": b'"http://x.org/r","is ""near"""\n',
    "entity2image.tsv": b"http://x.org/a\tone.png\nhttp://x.org/c\tdeep/two.png\n",
}
FILES = {name: form.files(FACTS) | (TABLES if form.path == "." else {}) for name, form in FORMATS.items()}
FILES["training graph"] = {f"{split}.txt": FILES["TSV"][f"{split}.txt"] for split in SPLITS}
FILES["training graph"] |= {"test_transductive.txt": FILES["TSV"]["test.txt"]} | TABLES
# Bytes that look like a file more often than random ones do.
PIECES = st.sampled_from(
    [piece.encode() for piece in ("a", "\t", "\n", "\r\n", "\r", "\x00", "\u2028", "\ufeff", "../x", "/", '"', ",", " ")]
    + rb"< > <http://x.org/a> _:b [ ( @prefix @en ^^ \u \ud800 &a; <!-- <rdf:Description> </ { } null \xff".split()
    + b"1 -1 99999999999999999999 head relation tail . \xff \xed\xa0\x80".split()
)
JUNK = st.one_of(st.binary(max_size=40), st.lists(PIECES, max_size=30).map(b"".join))


@st.composite
def damaged(draw):
    """(format, path of one of its files, what stands there instead)."""
    name = draw(st.sampled_from(sorted(FILES)))
    path = draw(st.sampled_from(sorted(FILES[name])))
    content = FILES[name][path]
    if draw(st.booleans()):
        return name, path, draw(JUNK)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(start + draw(st.sampled_from([0, 0, 1, 1, 4, 20])), len(content))
        new = draw(st.one_of(PIECES, st.binary(max_size=3), st.just(content[start : start + 30])))
        content = content[:start] + new + content[end:]
    return name, path, content


def read_damaged(folder, name, path, content):
    form = FORMATS.get(name, FORMATS["TSV"])
    folder = folder / name.replace("/", "")
    if not folder.exists():
        write_files(folder, FILES[name])
        (folder / "images").mkdir()
    (folder / path).write_bytes(content)
    try:
        # The fingerprint fails for names that cannot be written as UTF-8.
        read_graph(folder / form.path, form.part, keep_unseen_entities=True).fingerprint  # noqa: B018
    except DataError as error:
        assert str(folder) in str(error)
    finally:
        (folder / path).write_bytes(FILES[name][path])


@settings(max_examples=500)
@given(damaged())
def test_damaged_files(tmp_path_factory, case):
    read_damaged(tmp_path_factory.getbasetemp(), *case)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(damaged())
def test_many_damaged_files(tmp_path_factory, case):
    read_damaged(tmp_path_factory.getbasetemp(), *case)
