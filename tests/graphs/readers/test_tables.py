"""Tables of facts: order of columns, headers, line ends, and what pyarrow would read otherwise."""

import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writing import as_csv, as_parquet, named_facts

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers import TableOptions, contents, read_graph, read_raw, tables

FACTS = [("a", "r", "b"), ("b", "s", "a")]


def read_file(path, content, **options):
    path.write_bytes(content)
    return named_facts(read_graph(path, options=TableOptions(**options)), "train")


@pytest.mark.parametrize("name", ["toy.txt", "toy.tsv", "toy.csv"])
def test_one_file_is_a_graph_that_is_not_split(tmp_path, name):
    (tmp_path / name).write_text("a\tr\tb\n".replace("\t", "," if ".csv" in name else "\t"))
    graph = read_graph(tmp_path / name)
    assert (graph.name, len(graph.train), len(graph.valid), len(graph.test)) == ("toy", 1, 0, 0)
    with pytest.raises(DataError, match=f"{name}: one file holds no inference graph"):
        read_graph(tmp_path / name, "inference")


def test_texts_lie_beside_one_file(tmp_path):
    (tmp_path / "entity2text.tsv").write_text("a\tAnna\n")
    (tmp_path / "toy.txt").write_text("a\tr\tb\n")
    assert read_graph(tmp_path / "toy.txt").texts == ("Anna", "")


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"a,r,b\nb,s,a\n", {}),
        (b"a,b,r\nb,a,s\n", {"columns": ("head", "tail", "relation")}),
        (b"1,a,r,x,b\n2,b,s,y,a\n", {"columns": ("id", "head", "relation", "id", "tail")}),
        (b"tail,year,head,relation\nb,1,a,r\na,2,b,s\n", {}),
        (b"\xef\xbb\xbftail,head,relation\r\nb,a,r\r\na,b,s\r\n", {"header": True}),
        (b"subject,predicate,object\na,r,b\nb,s,a\n", {"header": True}),
        (b"object,subject,predicate\nb,a,r\na,b,s", {"header": True, "columns": ("tail", "head", "relation")}),
    ],
)
def test_columns_in_any_order_with_and_without_header(tmp_path, content, options):
    assert read_file(tmp_path / "toy.csv", content, **options) == FACTS
    assert read_file(tmp_path / "toy.tsv", content.replace(b",", b"\t"), **options) == FACTS
    assert read_file(tmp_path / "toy.csv.gz", gzip.compress(content), **options) == FACTS


def test_a_header_can_be_a_fact(tmp_path):
    facts = read_file(tmp_path / "toy.tsv", b"head\trelation\ttail\n", header=False)
    assert facts == [("head", "relation", "tail")]
    with pytest.raises(DataError, match=r"toy\.tsv: no triples"):
        read_file(tmp_path / "toy.tsv", b"head\trelation\ttail\n")


@pytest.mark.parametrize("columns", [("head", "tail"), ("head", "relation", "tail", "head"), ()])
def test_options_that_leave_a_question_open(columns):
    with pytest.raises(DataError, match="once each"):
        TableOptions(columns)


def test_lone_carriage_returns_stay_in_names(tmp_path):
    """pyarrow would end a line at each of them."""
    assert read_file(tmp_path / "toy.tsv", b"a\rb\tr\r\r\t\rc\r\r\nx\tr\ty\r") == [("a\rb", "r\r\r", "\rc"), ("x", "r", "y")]
    assert read_file(tmp_path / "toy.csv", b'"a\rb",r\r,"c\r\nd\r"\r\n') == [("a\rb", "r\r", "c\r\nd\r")]
    # The character that stands in for them while pyarrow parses is none that the file holds.
    assert read_file(tmp_path / "toy.tsv", "\ue000\r\tr\t\ue001\n".encode()) == [("\ue000\r", "r", "\ue001")]


def test_quotes_are_characters_in_tab_separated_files(tmp_path):
    assert read_file(tmp_path / "toy.tsv", b'"a\t"r"\t""\n') == [('"a', '"r"', '""')]


def test_words_for_nothing_are_names(tmp_path):
    assert read_file(tmp_path / "toy.tsv", b"NA\tnull\tNaN\n\\N\tNone\t-\n") == [("NA", "null", "NaN"), ("\\N", "None", "-")]


def test_lines_of_rows_with_line_ends(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_bytes(b'"a\nb",r,c\n"x\r\n\n",r,"y\n"\nz,r,a\n')
    assert read_raw(path).train.lines.tolist() == [1, 3, 7]
    path.write_bytes(b'"a\nb",r,c\n"x\r\n\n",r,"y\n"\nz,r\nz,r,a\n')
    with pytest.raises(DataError, match=r"toy\.csv:7: 2 column\(s\), expected 3, separated by commas\. The line: 'z,r'"):
        read_raw(path)
    path.write_bytes(b'"a\nb",r,c\n\nz,r,a\n')
    with pytest.raises(DataError, match=r"toy\.csv:3: 1 column"):
        read_raw(path)
    path.write_bytes(b'a,r,c\n\nz,"r,a\n')
    with pytest.raises(DataError, match=r"toy\.csv:3: 2 column"):
        read_raw(path)
    path.write_bytes(b'a,r,c\n,"",\n')
    with pytest.raises(DataError, match=r"toy\.csv:2: an empty head"):
        read_raw(path)


def test_rows_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK", 64)
    facts = (
        [(f"a{i}", "r", "b") for i in range(30)] + [("x" * 1000, "r", "y\n" * 400)] + [(f"a{i}", "s", "b") for i in range(30)]
    )
    assert read_file(tmp_path / "toy.csv", as_csv(facts)) == facts
    (tmp_path / "toy.csv").write_bytes(as_csv([*facts, ("a", "b")]))
    with pytest.raises(DataError, match=r"toy\.csv:462: 2 column"):
        read_raw(tmp_path / "toy.csv")


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 9).map(str)] * 3), min_size=1, max_size=60), st.integers(16, 200))
def test_blocks_do_not_show(tmp_path_factory, facts, size):
    path = tmp_path_factory.getbasetemp() / "blocks.tsv"
    path.write_text("".join("\t".join(fact) + "\n" for fact in facts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_BLOCK", size)
        raw = read_raw(path)
    assert named_facts_of_split(raw) == facts
    seen = list(dict.fromkeys(name for head, _, tail in facts for name in (head, tail)))
    assert list(raw.entities) == seen


def named_facts_of_split(raw):
    return [(raw.entities[h], raw.relations[r], raw.entities[t]) for h, r, t in raw.train.triples]


def test_packed_files_that_are_damaged_or_traps(tmp_path, monkeypatch):
    packed = gzip.compress(b"a\tr\tb\n" * 1000)
    for content in (b"junk", packed[:-9], packed[:20] + b"junk" + packed[24:], b""):
        with pytest.raises(DataError, match=r"toy\.tsv\.gz"):
            read_file(tmp_path / "toy.tsv.gz", content)
    monkeypatch.setattr(contents, "_LEAST_LIMIT", 2**20)
    with pytest.raises(DataError, match=r"toy\.tsv\.gz: unpacks to more than 1,048,576 bytes"):
        read_file(tmp_path / "toy.tsv.gz", gzip.compress(b"\0" * 2**21))


def test_columns_of_parquet_files(tmp_path):
    path = tmp_path / "toy.parquet"
    assert read_file(path, as_parquet([(t, "1", h, r) for h, r, t in FACTS], ("tail", "x", "head", "relation"))) == FACTS
    assert read_file(path, as_parquet(FACTS, ("subject", "predicate", "object"))) == FACTS
    swapped = as_parquet([(h, t, r) for h, r, t in FACTS], ("s", "o", "p"))
    assert read_file(path, swapped, columns=("head", "tail", "relation")) == FACTS
    with pytest.raises(DataError, match=r"toy\.parquet: columns a, b, c, d; expected head, relation and tail among them"):
        read_file(path, as_parquet([("1", "2", "3", "4")], ("a", "b", "c", "d")))
    with pytest.raises(DataError, match=r"toy\.parquet: columns a, b, a; give each another name"):
        read_file(path, as_parquet([("1", "2", "3")], ("a", "b", "a")))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (pa.array(["a", "b", None]), r"toy\.parquet:3: an empty head"),
        (pa.array(["a", "", "c"]), r"toy\.parquet:2: an empty head"),
        (pa.array([1.0, 2.0, 3.0]), "toy.parquet: column 'head' holds double; expected text"),
        (pa.array([["a"], ["b"], ["c"]]), "toy.parquet: column 'head' holds list"),
        (pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string()), "toy.parquet: not a Parquet file, or a damaged one"),
    ],
)
def test_columns_of_parquet_files_that_are_no_names(tmp_path, head, message):
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table({"head": head, "relation": ["r"] * 3, "tail": ["t"] * 3}), buffer)
    with pytest.raises(DataError, match=message):
        read_file(tmp_path / "toy.parquet", buffer.getvalue())


def test_kinds_of_text_in_parquet_files(tmp_path):
    buffer = io.BytesIO()
    relation = pa.DictionaryArray.from_arrays(np.array([1, 1], np.int32), ["unused", "r"])
    columns = {"head": pa.array([1, -2]), "relation": relation, "tail": pa.array(["x", "y"], pa.large_string())}
    pa.parquet.write_table(pa.table(columns), buffer)
    assert read_file(tmp_path / "toy.parquet", buffer.getvalue()) == [("1", "r", "x"), ("-2", "r", "y")]
