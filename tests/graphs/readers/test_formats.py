"""Every format and layout must pass the same cases."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from writing import FACTS, FORMATS, SPLITS, as_csv, as_parquet, named_facts, write_files

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers import read_graph, read_raw

# Names that XML can hold. The surrogates are no text, the others belong to XML's own line ends and to what it forbids.
HOSTILE = (
    "a\tb",
    "a\nb",
    "a\r\nb",
    'say "x"',
    "it's",
    "a,b",
    "\u202eabc",
    "\u0301",
    "e\u0301",
    "é",
    " ",
    "<&>",
    "\u2028",
    "\x85",
)
WORDS = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=12))


@pytest.fixture(params=FORMATS)
def name(request):
    return request.param


@pytest.fixture
def form(name):
    return FORMATS[name]


def read(form, folder, **more):
    return read_graph(folder / form.path, form.part, **more)


def test_every_format_reads_to_the_same_graph(form, tmp_path):
    graph = read(form, write_files(tmp_path, form.files(FACTS)))
    assert named_facts(graph, "train") == [FACTS["train"][i] for i in (0, 1, 3)]
    assert named_facts(graph, "valid") == FACTS["valid"]
    assert named_facts(graph, "test") == FACTS["test"]
    assert graph.entities == tuple(f"http://x.org/{name}" for name in "bac")  # by first appearance
    assert graph.relations == tuple(f"http://x.org/{name}" for name in "rs")


def test_every_format_keeps_repeated_facts_and_lines(form, tmp_path):
    raw = read_raw(write_files(tmp_path, form.files(FACTS)) / form.path, form.part)
    for split in SPLITS:
        assert len(getattr(raw, split).triples) == len(FACTS[split])
        lines = getattr(raw, split).lines
        assert lines.tolist() == list(range(form.first_line, form.first_line + len(lines)))
    assert raw.train.source == tmp_path / form.train


def test_a_broken_line_is_named(name, form, tmp_path):
    files = form.files(FACTS)
    if name == "Parquet":
        files[form.train] = as_parquet([("a", "r", "b"), ("a", "", "b")])
    elif form.train.endswith(".gz"):
        pytest.skip("the packed file has the same reader as the plain one")
    else:
        lines = files[form.train].split(b"\n")
        lines[form.first_line] = b'<"junk'
        files[form.train] = b"\n".join(lines)
    with pytest.raises(DataError, match=rf"{form.train}:{form.first_line + 1}: "):
        read(form, write_files(tmp_path, files))


def test_a_missing_file_is_named(form, tmp_path):
    files = form.files(FACTS)
    test = [path for path in files if "test" in path and path.startswith(form.train.rpartition("/")[0])][-1]
    del files[test]
    with pytest.raises(DataError, match=test.rpartition("/")[2].partition(".")[0]):
        read(form, write_files(tmp_path, files))


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-2] + b"\xff\xfe\n", lambda data: b"\xff" * 40])
def test_a_damaged_file_is_named(form, damage, tmp_path):
    files = form.files(FACTS)
    files[form.train] = damage(files[form.train])
    with pytest.raises(DataError, match=form.train.rpartition("/")[2]):
        read(form, write_files(tmp_path, files))


def test_an_unknown_entity_is_named_with_its_line(name, form, tmp_path):
    new = ("http://x.org/a", "http://x.org/r", "http://x.org/nobody")
    files = form.files(FACTS | {"test": [*FACTS["test"], new]})
    if name == "CoDEx":
        pytest.skip("every entity has a text")
    write_files(tmp_path, files)
    with pytest.raises(DataError, match=rf":{form.first_line + 2}: unknown entity 'http://x.org/nobody'"):
        read(form, tmp_path)
    assert named_facts(read(form, tmp_path, keep_unseen_entities=True), "test")[-1] == new


def test_every_layout_takes_texts_and_images_from_tables(form, tmp_path):
    write_files(tmp_path, form.files(FACTS))
    (tmp_path / "images").mkdir()
    folder = (tmp_path / form.train).parent
    (folder / "entity2text.csv").write_text("http://x.org/a,Anna,a person\n")
    (folder / "relation2text.tsv").write_text("http://x.org/s\tsees\n")
    (folder / "entity2image.tsv").write_text("http://x.org/c\tc.png\n")
    graph = read(form, tmp_path)
    position = graph.entities.index
    assert graph.labels[position("http://x.org/a")] == "Anna"
    assert graph.texts[position("http://x.org/a")] == "Anna a person"
    assert graph.relation_labels[1] == "sees"
    assert graph.images[position("http://x.org/c")] == ("c.png",)
    assert graph.image_root == tmp_path / "images"


@settings(max_examples=60)
@given(st.sampled_from(["csv", "parquet"]), st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=8))
@example("csv", [(name, name, name) for name in HOSTILE])
def test_hostile_names_survive_tables(tmp_path_factory, suffix, facts):
    """F2, in the formats that can hold any name."""
    folder = tmp_path_factory.getbasetemp() / f"hostile_{suffix}"
    write = {"csv": as_csv, "parquet": as_parquet}[suffix]
    texts = write([(name, name, name) for fact in facts for name in (fact[0], fact[2])])
    write_files(folder, {f"{s}.{suffix}": write(facts) for s in SPLITS} | {f"entity2text.{suffix}": texts})
    graph = read_graph(folder)
    assert named_facts(graph, "test") == facts
    assert graph.labels == graph.entities
    assert graph.texts == tuple(f"{name} {name}" for name in graph.entities)
