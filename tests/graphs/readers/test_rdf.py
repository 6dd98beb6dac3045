"""RDF: facts, blank nodes, texts, images, and files that mean harm."""

import contextlib
import logging

import pytest
import rdflib
from hypothesis import example, given, settings
from hypothesis import strategies as st
from writing import named_facts

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers import read_graph, read_raw

PREFIXES = """
@prefix : <http://x.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <https://schema.org/> .
@prefix foaf: <http://xmlns.com/foaf/0.1/> .
@prefix dbo: <http://dbpedia.org/ontology/> .
"""


def read(folder, text, name="toy.ttl"):
    (folder / name).write_text(PREFIXES + text if name.endswith(".ttl") else text)
    return read_graph(folder / name)


def local(graph, split="train"):
    return [tuple(name.removeprefix("http://x.org/") for name in fact) for fact in named_facts(graph, split)]


def test_literals_become_labels_and_texts(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    graph = read(
        tmp_path,
        """
        :a :r :b ; skos:prefLabel "preferred" ; rdfs:label "Anna"@de, "Ann"@en-GB, "Annie"@en ; foaf:name "Anne" ;
          dbo:abstract "An abstract."@en ; rdfs:comment "Ein Kommentar."@de ; :height 1.7 .
        :b schema:name "Bert"@fr ; schema:description "first", "second" ; :born "1970-02-30"^^:date .
        :c rdfs:label "in no fact" .
        :r rdfs:label "knows" .
        """,
    )
    assert local(graph) == [("a", "r", "b")]
    assert graph.labels == ("Ann", "Bert")
    assert graph.texts == ("Ann An abstract.", "Bert first")
    assert graph.relation_labels == ("knows",)
    assert "2 literals that are neither label nor text are left out" in caplog.text


def test_labels_and_texts_may_stand_in_different_splits(tmp_path):
    fact = "<http://x.org/a> <http://x.org/r> <http://x.org/b> .\n"
    rdfs = "http://www.w3.org/2000/01/rdf-schema#"
    (tmp_path / "train.nt").write_text(fact)
    (tmp_path / "valid.nt").write_text(f'{fact}<http://x.org/a> <{rdfs}comment> "a person" .\n')
    (tmp_path / "test.nt").write_text(f'{fact}<http://x.org/a> <{rdfs}label> "Anna" .\n')
    assert read_graph(tmp_path).texts == ("Anna a person", "")


def test_images_are_found_by_base_name(tmp_path, caplog):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "one two.JPG", "deep"):
        (tmp_path / "images" / name).touch()
    graph = read(
        tmp_path,
        """
        :a :r :b ; foaf:depiction <http://y.org/pictures/a.png?width=300#x>, <http://y.org/missing.png> .
        :a :logo <http://y.org/one%20two.JPG> .
        :b schema:image "deep", "a.png" ; dbo:thumbnail <http://y.org/..%2F..%2Fetc%2Fpasswd>, <file:///etc/passwd> .
        :c foaf:depiction [ a :Picture ] .
        """,
    )
    assert graph.images[:2] == (("a.png", "one two.JPG"), ("deep", "a.png"))
    assert graph.image_root == tmp_path / "images"
    assert local(graph)[0] == ("a", "r", "b")
    assert len(graph.train) == 3  # a picture that is a blank node may have facts of its own
    assert "3 images are not in images/, the first is http://y.org/missing.png" in caplog.text


def test_no_folder_of_images(tmp_path):
    graph = read(tmp_path, ":a :r :b ; foaf:depiction <http://y.org/a.png> .")
    assert (graph.images, graph.image_root) == (((), ()), None)


def test_blank_nodes_are_numbered_by_appearance_and_belong_to_their_file(tmp_path):
    facts = ":a :r [ :s _:x ] . _:x :r (:a) ."
    first, again = read(tmp_path, facts), read(tmp_path, facts)
    assert first.fingerprint == again.fingerprint
    assert [name for name in first.entities if name.startswith("_:")] == ["_:toy1", "_:toy2", "_:toy3"]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.nt").write_text("_:x <http://x.org/r> <http://x.org/a> .\n")
    (tmp_path / "toy.ttl").unlink()
    with pytest.raises(DataError, match=r"valid\.nt:1: unknown entity '_:valid1'"):
        read_graph(tmp_path)


def test_relative_iris_do_not_depend_on_the_place(tmp_path):
    assert read(tmp_path, "<a> <r> <#b> .").entities == ("file:///a", "file:///#b")
    assert read(tmp_path, "@base <http://y.org/> . <a> <r> <b> .").entities == ("http://y.org/a", "http://y.org/b")


def test_lines_are_those_where_the_objects_end(tmp_path):
    (tmp_path / "toy.ttl").write_text("@prefix : <http://x.org/> .\n# a comment\n:a :r :b ,\n  :c ;\n\n  :s :d .\n")
    assert read_raw(tmp_path / "toy.ttl").train.lines.tolist() == [4, 4, 6]
    (tmp_path / "toy.nt").write_text('# a comment\n\n<x:a> <x:r> <x:b> . # more\r\n<x:a> <x:l> "c" .\n<x:a> <x:r> <x:c>.')
    assert read_raw(tmp_path / "toy.nt").train.lines.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("toy.nt", "<x:a> <x:r> <x:b> .\n<x:a> <x:r> .\n", r"toy\.nt:2: not valid N-Triples"),
        ("toy.nt", '<x:a> <x:r> "\\ud800" .\n<x:a> <x:r> <x:\\udc00> .\n', r"toy\.nt:2: .* half a surrogate pair"),
        ("toy.nt", "", r"toy\.nt: no triples"),
        ("toy.nt", '<x:a> <x:r> "b" .\n', r"toy\.nt: no triples"),
        ("toy.ttl", ":a :r :b .\n:a :r\n:b", r"toy\.ttl:10: not valid Turtle"),
        ("toy.ttl", ":a :r " + "[ :r " * 5000, r"toy\.ttl:\d+: not valid Turtle \(maximum recursion depth"),
        ("toy.ttl", ":a unknown:r :b .", r"toy\.ttl:8: not valid Turtle"),
        ("toy.rdf", "<a>\n<b></a>", r"toy\.rdf:2: not valid RDF/XML"),
        ("toy.rdf", "no xml", r"toy\.rdf:1: not valid RDF/XML"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, name)


def test_xml_reads_no_other_file_and_does_not_explode(tmp_path):
    """F3: an external entity would read a file of its choice, nested ones would fill the memory."""
    (tmp_path / "secret").write_text("secret")
    document = """<?xml version="1.0"?><!DOCTYPE x [{entities}]>
    <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:l="http://www.w3.org/2000/01/rdf-schema#">
    <rdf:Description rdf:about="http://x.org/a"><l:label>label &z;</l:label><l:seeAlso rdf:resource="http://x.org/b"/>
    </rdf:Description></rdf:RDF>"""
    external = f'<!ENTITY z SYSTEM "file://{tmp_path}/secret">'
    with contextlib.suppress(DataError):
        assert "secret" not in read(tmp_path, document.replace("{entities}", external), "toy.rdf").labels[0]
    letters = "abcdefghijklmnopqrstuvwxyz"
    references = zip(letters[1:], (f"&{letter};" * 10 for letter in letters), strict=False)
    nested = '<!ENTITY a "aaaaaaaaaa">' + "".join(f'<!ENTITY {name} "{value}">' for name, value in references)
    with pytest.raises(DataError, match=r"toy\.rdf:3: not valid RDF/XML \(its entities expand"):
        read(tmp_path, document.replace("{entities}", nested), "toy.rdf")


def test_texts_of_many_lines_in_xml_are_joined_once(tmp_path):
    """rdflib adds line to line, which would take minutes here."""
    text = "a line\n" * 50_000
    graph = read(
        tmp_path,
        f"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:l="http://www.w3.org/2000/01/rdf-schema#">
        <rdf:Description rdf:about="http://x.org/a"><l:seeAlso rdf:resource="http://x.org/b"/><l:comment>{text}</l:comment>
        </rdf:Description></rdf:RDF>""",
        "toy.rdf",
    )
    assert graph.texts == (text, "")


# XML holds no control characters, and makes \n of every \r; the other two hold all that is text.
TEXT = st.text(min_size=1, max_size=12)
PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=12)
HOSTILE = ["a\tb", "a\nb", 'say "x"', "it's", "\\n", "\u202eabc", "\u0301", "e\u0301", " ", "<&>]]>", "\u2028"]


@settings(max_examples=40)
@given(st.sampled_from(["nt", "turtle", "xml"]), st.data())
@example("nt", None)
@example("turtle", None)
@example("xml", None)
def test_hostile_labels_survive(tmp_path_factory, serializer, data):
    """F2: as rdflib writes it, to the last combining mark."""
    labels = (
        HOSTILE if data is None else data.draw(st.lists(PRINTABLE if serializer == "xml" else TEXT, min_size=1, max_size=5))
    )
    graph = rdflib.Graph()
    for i, label in enumerate(labels):
        entity = rdflib.URIRef(f"http://x.org/{i}")
        graph.add((entity, rdflib.URIRef("http://x.org/r"), rdflib.URIRef("http://x.org/0")))
        graph.add((entity, rdflib.RDFS.label, rdflib.Literal(label)))
    path = tmp_path_factory.getbasetemp() / f"labels.{ {'nt': 'nt', 'turtle': 'ttl', 'xml': 'rdf'}[serializer] }"
    graph.serialize(path, serializer, encoding="utf-8")
    read = read_graph(path)
    assert dict(zip(read.entities, read.labels, strict=True)) == {f"http://x.org/{i}": label for i, label in enumerate(labels)}
