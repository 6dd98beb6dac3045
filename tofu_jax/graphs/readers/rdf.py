"""RDF (N-Triples, Turtle, RDF/XML), parsed by rdflib.

IRIs and blank nodes are entities, predicates are relations. A blank node belongs to its file, so the same label in two files
means two entities. A relative IRI is resolved against the file's own base, or else against file:///.

Literals and links to images are no facts:

    label    rdfs:label, skos:prefLabel, schema:name, foaf:name: one, English or without language if there is one; among
             several the property named first here, then the first in the file. So for relations, too.
    text     rdfs:comment, dcterms:description, schema:description, dbo:abstract, skos:definition: one, chosen likewise.
    images   foaf:depiction, foaf:img, schema:image, schema:thumbnailUrl, dbo:thumbnail, and any IRI that ends like an image
             file: the file of the same base name in the nearest folder images/. Where there is none the link is left out.

Of several files, the first that has a label or a text for an id counts. All other literals are left out; the log tells how many
they were, and how many links. The line of a fact is that of its object, in Turtle that in which the list of objects ends.
"""

import array
import contextlib
import io
import logging
import os
import pathlib
import urllib.parse
import xml.sax.saxutils
import xml.sax.xmlreader
from collections.abc import Callable, Iterator

import numpy as np
import rdflib
from rdflib.plugins.parsers.notation3 import RDFSink, SinkParser
from rdflib.plugins.parsers.ntriples import W3CNTriplesParser
from rdflib.plugins.parsers.rdfxml import create_parser
from rdflib.plugins.stores.memory import SimpleMemory

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.contents import read_bytes, read_utf8, require_unicode
from tofu_jax.graphs.readers.descriptions import Descriptions, image_folder
from tofu_jax.graphs.readers.named import Column, NamedSplit

_log = logging.getLogger(__name__)

_BASE = "file:///"
_SCHEMA = ("http://schema.org/", "https://schema.org/")
_DBPEDIA = "http://dbpedia.org/ontology/"
_FOAF = "http://xmlns.com/foaf/0.1/"
_RDFS = "http://www.w3.org/2000/01/rdf-schema#"
_SKOS = "http://www.w3.org/2004/02/skos/core#"
_LABELS = (f"{_RDFS}label", f"{_SKOS}prefLabel", *(f"{schema}name" for schema in _SCHEMA), f"{_FOAF}name")
_TEXTS = (
    f"{_RDFS}comment",
    "http://purl.org/dc/terms/description",
    *(f"{schema}description" for schema in _SCHEMA),
    f"{_DBPEDIA}abstract",
    f"{_SKOS}definition",
)
_IMAGES = {
    f"{_FOAF}depiction",
    f"{_FOAF}img",
    *(f"{schema}image" for schema in _SCHEMA),
    *(f"{schema}thumbnailUrl" for schema in _SCHEMA),
    f"{_DBPEDIA}thumbnail",
}
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".svg", ".bmp", ".tif", ".tiff")


def read_rdf(path: pathlib.Path, descriptions: Descriptions) -> NamedSplit:
    """Reads the facts of an RDF file, whose format its suffix tells: .nt, .ttl, or else RDF/XML.

    Args:
      path: of the file.
      descriptions: labels, texts and images that the file holds are added here.

    Raises:
      DataError: the file cannot be read, is damaged, or holds no fact.
    """
    statements = _Statements(path)
    formats = {".nt": (_parse_n_triples, "N-Triples"), ".ttl": (_parse_turtle, "Turtle")}
    parse, name = formats.get(pathlib.Path(path.name.removesuffix(".gz")).suffix, (_parse_xml, "RDF/XML"))
    data = read_bytes(path) if parse is _parse_xml else read_utf8(path)
    with _without_remarks():
        try:
            parse(data, statements)
        except DataError:
            raise
        except Exception as error:  # On input that is no RDF, rdflib raises whatever its code stumbles over.
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DataError(f"{path}:{statements.line()}: not valid {name} ({reason}).") from error
    return statements.finish(descriptions)


class _Statements(SimpleMemory):
    """A store for rdflib's parsers that sorts statements into facts and descriptions, and forgets them."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.line: Callable[[], int] = lambda: 1  # where the parser is
        self._path = path
        self._names: dict[str, int] = {}
        self._facts = tuple(array.array("i") for _ in range(3))  # head, relation, tail as positions in the names
        self._lines = array.array("q")
        self._blank: dict[str, str] = {}
        self._labels: dict[str, tuple[bool, int, str]] = {}
        self._texts: dict[str, tuple[bool, int, str]] = {}
        self._links: dict[str, dict[str, None]] = {}
        self._unused = 0

    def add(self, triple: tuple, context: object = None, quoted: bool = False) -> None:
        """Takes one statement; rdflib calls this."""
        head, relation, tail = triple
        if self._is_image(relation, tail):
            self._links.setdefault(self._name(head), {})[str(tail)] = None
        elif isinstance(tail, rdflib.Literal):
            self._describe(head, str(relation), tail)
        else:
            for column, term in zip(self._facts, triple, strict=True):
                column.append(self._names.setdefault(self._name(term), len(self._names)))
            self._lines.append(self.line())

    def triple(self, head: rdflib.term.Node, relation: rdflib.term.Node, tail: rdflib.term.Node) -> None:
        """Takes one statement; rdflib's parser of N-Triples calls this."""
        self.add((head, relation, tail))

    def finish(self, descriptions: Descriptions) -> NamedSplit:
        """The facts, and what else was said of entities and relations into `descriptions`."""
        for name, (_, _, label) in self._labels.items():
            descriptions.labels.setdefault(name, label)
            descriptions.relation_labels.setdefault(name, label)
        for name, (_, _, text) in self._texts.items():
            descriptions.texts.setdefault(name, text)
        folder = image_folder(self._path.parent)
        files = {file.name for file in os.scandir(folder) if file.is_file()} if folder else set()
        missing = []
        for name, links in self._links.items():
            for link in links:
                images = descriptions.images.setdefault(name, [])
                if _base_name(link) not in files:
                    missing.append(link)
                elif _base_name(link) not in images:
                    images.append(_base_name(link))
        descriptions.image_root = folder
        if missing:
            _log.warning("%s: %d images are not in images/, the first is %s", self._path, len(missing), missing[0])
        if self._unused:
            _log.info("%s: %d literals that are neither label nor text are left out", self._path, self._unused)
        columns = [Column(np.array(column, np.int32), list(self._names)) for column in self._facts]
        return NamedSplit(self._path, *columns, np.array(self._lines, np.int64))

    @staticmethod
    def _is_image(relation: rdflib.term.Node, tail: rdflib.term.Node) -> bool:
        if str(relation) in _IMAGES:
            return not isinstance(tail, rdflib.BNode)
        return isinstance(tail, rdflib.URIRef) and _base_name(tail).lower().endswith(_IMAGE_SUFFIXES)

    def _describe(self, head: rdflib.term.Node, relation: str, literal: rdflib.Literal) -> None:
        for properties, kept in ((_LABELS, self._labels), (_TEXTS, self._texts)):
            if relation in properties and literal:
                foreign = bool(literal.language) and literal.language.lower().split("-")[0] != "en"
                rank = (foreign, properties.index(relation))
                name = self._name(head)
                if name not in kept or rank < kept[name][:2]:
                    kept[name] = (*rank, require_unicode(self._path, self.line(), str(literal)))
                return
        self._unused += 1

    def _name(self, term: rdflib.term.Node) -> str:
        """The id of an entity or relation. rdflib numbers blank nodes at random, this by first appearance."""
        if isinstance(term, rdflib.BNode):
            split = self._path.name.partition(".")[0]
            return self._blank.setdefault(str(term), f"_:{split}{len(self._blank) + 1}")
        return require_unicode(self._path, self.line(), str(term))


def _base_name(link: str) -> str:
    """The name of the file that a link leads to: without folders, query, fragment and percent signs."""
    path = urllib.parse.unquote(link.partition("?")[0].partition("#")[0])
    return pathlib.PurePosixPath(path).name


def _parse_n_triples(data: bytes, statements: _Statements) -> None:
    parser = W3CNTriplesParser(statements)
    number = 0
    statements.line = lambda: number
    for number, line in enumerate(io.StringIO(data.decode(), newline=None), start=1):  # noqa: B007, statements.line tells it
        parser.line = line.rstrip("\n")
        parser.parseline()


def _parse_turtle(data: bytes, statements: _Statements) -> None:
    graph = rdflib.Graph(statements, bind_namespaces="none")
    parser = SinkParser(RDFSink(graph), baseURI=_BASE, turtle=True)
    statements.line = lambda: parser.lines + 1
    parser.loadBuf(data)


def _parse_xml(data: bytes, statements: _Statements) -> None:
    source = xml.sax.xmlreader.InputSource(_BASE)
    source.setByteStream(io.BytesIO(data))
    parser = create_parser(source, rdflib.Graph(statements, bind_namespaces="none"))
    joined = _JoinedText(parser, 10 * len(data) + 2**20)
    joined.setContentHandler(parser.getContentHandler())
    joined.setErrorHandler(parser.getErrorHandler())
    statements.line = lambda: parser.getLineNumber()
    joined.parse(source)


class _JoinedText(xml.sax.saxutils.XMLFilterBase):
    """Hands on text in one piece: rdflib adds piece to piece, which takes hours for a text of many lines or entities."""

    def __init__(self, parent: xml.sax.xmlreader.XMLReader, most_characters: int) -> None:
        super().__init__(parent)
        self._pieces = io.StringIO()
        self._left = most_characters

    def characters(self, content: str) -> None:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("its entities expand to more than ten times the file")
        self._pieces.write(content)

    def startElementNS(self, *event: object) -> None:
        self._hand_on()
        super().startElementNS(*event)

    def endElementNS(self, *event: object) -> None:
        self._hand_on()
        super().endElementNS(*event)

    def _hand_on(self) -> None:
        text = self._pieces.getvalue()
        if text:
            super().characters(text)
            self._pieces = io.StringIO()


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Keeps rdflib from logging every literal that does not fit its data type, which large files are full of."""
    log = logging.getLogger("rdflib.term")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
