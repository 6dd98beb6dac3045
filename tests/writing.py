"""The same little graph in every layout and format that is read: what the tests of all readers share."""

import csv
import dataclasses
import gzip
import io
import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet

Fact = tuple[str, str, str]
SPLITS = ("train", "valid", "test")
# IRIs without spaces, since every format can hold these.
FACTS = {
    "train": [
        ("http://x.org/b", "http://x.org/r", "http://x.org/a"),
        ("http://x.org/a", "http://x.org/s", "http://x.org/c"),
        ("http://x.org/b", "http://x.org/r", "http://x.org/a"),
        ("http://x.org/c", "http://x.org/r", "http://x.org/c"),
    ],
    "valid": [("http://x.org/a", "http://x.org/r", "http://x.org/c")],
    "test": [("http://x.org/c", "http://x.org/s", "http://x.org/b"), ("http://x.org/c", "http://x.org/r", "http://x.org/b")],
}


def as_tsv(facts: list[Fact]) -> bytes:
    return "".join("\t".join(fact) + "\n" for fact in facts).encode()


def as_csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[tuple[str, ...]], names: tuple[str, ...] = ("head", "relation", "tail")) -> bytes:
    buffer = io.BytesIO()
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    pa.parquet.write_table(pa.table(columns, names=list(names)), buffer)
    return buffer.getvalue()


def as_n_triples(facts: list[Fact]) -> bytes:
    return "".join(f"<{head}> <{relation}> <{tail}> .\n" for head, relation, tail in facts).encode()


def as_turtle(facts: list[Fact]) -> bytes:
    local = [[name.rpartition("/")[2] for name in fact] for fact in facts]
    return ("@prefix x: <http://x.org/> .\n" + "".join(f"x:{h} x:{r} x:{t} .\n" for h, r, t in local)).encode()


def as_rdf_xml(facts: list[Fact]) -> bytes:
    space = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    head = f'<rdf:RDF xmlns:rdf="{space}" xmlns:x="http://x.org/">\n'
    lines = [
        f'<rdf:Description rdf:about="{head}"><x:{relation.rpartition("/")[2]} rdf:resource="{tail}"/></rdf:Description>\n'
        for head, relation, tail in facts
    ]
    return (head + "".join(lines) + "</rdf:RDF>\n").encode()


def vocabularies(facts: dict[str, list[Fact]]) -> tuple[list[str], list[str]]:
    """Entities and relations, the last one first."""
    rows = [fact for split in facts.values() for fact in split]
    return sorted({name for h, _, t in rows for name in (h, t)}, reverse=True), sorted({r for _, r, _ in rows}, reverse=True)


def open_ke(facts: dict[str, list[Fact]]) -> dict[str, bytes]:
    entities, relations = vocabularies(facts)
    files = {
        f"{kind}2id.txt": f"{len(names)}\n" + "".join(f"{name}\t{i}\n" for i, name in enumerate(names))
        for kind, names in (("entity", entities), ("relation", relations))
    }
    for split, rows in facts.items():
        lines = [f"{entities.index(h)} {entities.index(t)} {relations.index(r)}\n" for h, r, t in rows]
        files[f"{split}2id.txt"] = f"{len(rows)}\n" + "".join(lines)
    return {name: text.encode() for name, text in files.items()}


def my_go(facts: dict[str, list[Fact]]) -> dict[str, bytes]:
    """As MKG-W: numbers in the facts, and the URIs of these numbers."""
    entities, relations = vocabularies(facts)
    files = {
        f"{split}.txt": as_tsv([(str(entities.index(h)), str(relations.index(r)), str(entities.index(t))) for h, r, t in rows])
        for split, rows in facts.items()
    }
    for listed, numbered, names in (("entities", "entity2id", entities), ("relations", "relation2id", relations)):
        files[f"{listed}.txt"] = "".join(f"{i}\n" for i in range(len(names))).encode()
        files[f"{numbered}.txt"] = "".join(f"{name} {i}\n" for i, name in enumerate(names)).encode()
    return files


def codex(facts: dict[str, list[Fact]]) -> dict[str, bytes]:
    entities, relations = vocabularies(facts)
    described = [
        {name: {"label": name.rpartition("/")[2], "description": "", "wiki": ""} for name in names}
        for names in (entities, relations)
    ]
    return {f"triples/codex-s/{split}.txt": as_tsv(rows) for split, rows in facts.items()} | {
        "entities/en/entities.json": json.dumps(described[0], indent=0).encode(),
        "relations/en/relations.json": json.dumps(described[1], indent=0).encode(),
        "types/entity2types.json": json.dumps({entities[0]: ["Q1"]}).encode(),
        "types/en/types.json": json.dumps({"Q1": {"label": "thing"}}).encode(),
        f"entities/en/extracts/{entities[1].replace('/', '')}.txt": b"of no entity",
    }


@dataclasses.dataclass(frozen=True)
class Format:
    """How a graph stands in files.

    Attributes:
      files: {split: facts} to {path: bytes}.
      train: path of the file of training facts.
      first_line: where its facts begin.
      path: what to give to the reader, relative to the folder of the files.
      part: likewise.
    """

    files: Callable[[dict[str, list[Fact]]], dict[str, bytes]]
    train: str
    first_line: int = 1
    path: str = "."
    part: str | None = None


def one_file_a_split(write: Callable[[list[Fact]], bytes], suffix: str, first_line: int = 1) -> Format:
    return Format(lambda facts: {f"{s}{suffix}": write(rows) for s, rows in facts.items()}, f"train{suffix}", first_line)


def other_graph(names: tuple[str, str, str], training: tuple[str, ...], **more: str) -> Format:
    """A folder with a training graph, and the graph in question as inference graph."""
    other = as_tsv([("http://x.org/other", "http://x.org/r", "http://x.org/one")])
    return Format(
        lambda facts: (
            {name: other for name in training} | {name: as_tsv(rows) for name, rows in zip(names, facts.values(), strict=True)}
        ),
        names[0],
        **more,
    )


FORMATS = {
    "TSV": one_file_a_split(as_tsv, ".txt"),
    "TSV, packed": one_file_a_split(lambda facts: gzip.compress(as_tsv(facts), mtime=0), ".tsv.gz"),
    "CSV": one_file_a_split(as_csv, ".csv"),
    "CSV with header": one_file_a_split(
        lambda facts: as_csv([("tail", "weight", "head", "relation"), *((t, "1", h, r) for h, r, t in facts)]), ".csv", 2
    ),
    "Parquet": one_file_a_split(as_parquet, ".parquet"),
    "N-Triples": one_file_a_split(as_n_triples, ".nt"),
    "Turtle": one_file_a_split(as_turtle, ".ttl", 2),
    "RDF/XML": one_file_a_split(as_rdf_xml, ".rdf", 2),
    "inference graph": other_graph(
        ("inference_graph.txt", "inference_valid.txt", "inference_test.txt"), ("train.txt", "valid.txt", "test.txt")
    ),
    "InGram": other_graph(("msg.txt", "valid.txt", "test.txt"), ("train.txt",)),
    "ILPC 2022": other_graph(("inference.txt", "inference_validation.txt", "inference_test.txt"), ("train.txt",)),
    "GraIL": other_graph(
        ("x_ind/train.txt", "x_ind/valid.txt", "x_ind/test.txt"),
        ("x/train.txt", "x/valid.txt", "x/test.txt"),
        path="x",
        part="inference",
    ),
    "OpenKE": Format(open_ke, "train2id.txt", 2),
    "MyGO": Format(my_go, "train.txt"),
    "CoDEx": Format(codex, "triples/codex-s/train.txt", path="triples/codex-s"),
}


def write_files(folder, files):
    """Writes {path: bytes} below a folder and returns the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def named_facts(graph, split):
    """The facts of a split of a graph by name."""
    return [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in getattr(graph, split)]
