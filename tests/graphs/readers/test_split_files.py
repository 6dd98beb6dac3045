"""Folders of split files: what the tables hold, and every mistake that they can hold."""

import os
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers import read_graph
from tofu_jax.graphs.registry import load_graph

REAL = pathlib.Path(os.environ.get("TOFU_JAX_DATA", "absent")) / "grail" / "fb237_v1"
SPLITS = {"train.txt": "b\tr\ta\na\ts\tc\n", "valid.txt": "a\tr\tc\n", "test.txt": "c\ts\tb\n"}
INFERENCE = {
    "inference_graph.txt": "x\tr\ty\ny\ts\tz\n",
    "inference_valid.txt": "x\tr\tz\n",
    "inference_test.txt": "z\tr\tx\nz\ts\ty\n",
}
DESCRIPTIONS = ("entity2text.tsv", "relation2text.tsv", "entity2image.tsv")
# All that str.splitlines breaks at, and then some: none of it ends a line or a column here.
HOSTILE = (
    "a\u2028b",
    "a\u2029b",
    "a\x0bb",
    "a\x0cb",
    "a\x1cb",
    "a\x85b",
    'say "x"',
    "'",
    " ",
    "\u202eabc",
    "\x00",
    "é",
    "e\u0301",
)
# A name can hold anything but what ends a column or a line (\r would be taken for a part of \r\n) or marks the byte order.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\ufeff"), min_size=1, max_size=12)


def write(folder, **changes):
    """Writes SPLITS and `changes` ({file, "_" for ".": text or bytes; None removes it}) into a folder and returns it."""
    files = SPLITS | {name.replace("_txt", ".txt").replace("_tsv", ".tsv"): text for name, text in changes.items()}
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def facts(graph, split):
    return [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in getattr(graph, split)]


def test_transductive_folder(tmp_path):
    graph = read_graph(write(tmp_path / "toy"))
    assert graph.name == "toy"
    assert graph.entities == graph.labels == ("b", "a", "c")  # by first appearance
    assert graph.relations == graph.relation_labels == ("r", "s")
    assert facts(graph, "train") == [("b", "r", "a"), ("a", "s", "c")]
    assert facts(graph, "valid") == [("a", "r", "c")]
    assert facts(graph, "test") == [("c", "s", "b")]
    assert graph.texts == ("", "", "")
    assert (graph.images, graph.image_root) == (((), (), ()), None)


def test_inductive_folder(tmp_path):
    folder = write(tmp_path, **{name.replace(".", "_"): text for name, text in INFERENCE.items()})
    (folder / "test_transductive.txt").write_text("b\ts\tc\n")
    default = read_graph(folder)
    assert default.entities == ("x", "y", "z")
    assert facts(default, "train") == [("x", "r", "y"), ("y", "s", "z")]
    assert facts(default, "valid") == [("x", "r", "z")]
    assert facts(default, "test") == [("z", "r", "x"), ("z", "s", "y")]
    assert read_graph(folder, "inference").fingerprint == default.fingerprint
    training = read_graph(folder, "training")
    assert training.entities == ("b", "a", "c")
    # test.txt is the inference graph's in such folders, so it is left alone.
    assert facts(training, "test") == [("b", "s", "c")]


def test_descriptions(tmp_path):
    (tmp_path / "kind").mkdir()
    folder = write(
        tmp_path / "kind" / "toy",
        entity2text_tsv="a\tAnna\ta person\tPerson\nunknown\tof another graph\nb\t\tno name\nc\tCarl\t\n",
        relation2text_tsv="r\tis related to\tdescription\ns\t\nq\tof another graph\n",
        entity2image_tsv="a\tone.png\nunknown\tthree.png\nc\tdeep/four.png\na\ttwo.png\tof 1990\n",
    )
    (tmp_path / "images").mkdir()  # one of the folders above
    graph = read_graph(folder)
    assert graph.entities == ("b", "a", "c")
    assert graph.labels == ("b", "Anna", "Carl")
    assert graph.texts == ("no name", "Anna a person Person", "Carl")
    assert graph.relation_labels == ("is related to", "s")
    assert graph.images == ((), ("one.png", "two.png"), ("deep/four.png",))
    assert graph.image_root == tmp_path / "images"


def test_nearest_folder_of_images_wins(tmp_path):
    folder = write(tmp_path / "toy", entity2image_tsv="a\tone.png\n")
    for place in (tmp_path, folder):
        (place / "images").mkdir()
    assert read_graph(folder).image_root == folder / "images"


def test_line_ends(tmp_path):
    plain = read_graph(write(tmp_path / "plain"))
    crlf = {name.replace(".", "_"): text.replace("\n", "\r\n") for name, text in SPLITS.items()}
    assert read_graph(write(tmp_path / "crlf", **crlf)).fingerprint == plain.fingerprint
    marked = {name.replace(".", "_"): b"\xef\xbb\xbf" + text.encode() for name, text in SPLITS.items()}
    assert read_graph(write(tmp_path / "marked", **marked)).fingerprint == plain.fingerprint
    unfinished = {name.replace(".", "_"): text.removesuffix("\n") for name, text in SPLITS.items()}
    assert read_graph(write(tmp_path / "unfinished", **unfinished)).fingerprint == plain.fingerprint


def test_no_other_line_breaks_and_no_stripping(tmp_path):
    lines = "".join(f"{name}\tr{name}\t{name}\n" for name in HOSTILE)
    graph = read_graph(write(tmp_path, train_txt=lines + SPLITS["train.txt"]))
    assert graph.entities[: len(HOSTILE)] == HOSTILE  # neither cut nor made one under Unicode normalisation
    assert graph.relations[: len(HOSTILE)] == tuple(f"r{name}" for name in HOSTILE)


def test_repeated_training_lines_count_once_and_keep_their_order(tmp_path):
    graph = read_graph(write(tmp_path, train_txt="b\tr\ta\na\ts\tc\nb\tr\ta\na\tr\ta\na\ts\tc\n", valid_txt="a\tr\tc\n" * 2))
    assert facts(graph, "train") == [("b", "r", "a"), ("a", "s", "c"), ("a", "r", "a")]
    assert len(graph.valid) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_txt": "a\tr\tb\na\tr\n"}, r"train\.txt:2: 2 column\(s\), expected 3"),
        ({"valid_txt": "a\tr\tb\tc\n"}, r"valid\.txt:1: 4 column\(s\), expected 3"),
        ({"test_txt": "a r b\n"}, r"test\.txt:1: 1 column\(s\), expected 3"),
        ({"train_txt": "a\tr\tb\n\nb\tr\ta\n"}, r"train\.txt:2: 1 column"),
        ({"train_txt": "a\tr\tb\n\tr\tb\n"}, r"train\.txt:2: an empty head, relation or tail"),
        ({"train_txt": "a\t\tb\n"}, r"train\.txt:1: an empty head, relation or tail"),
        ({"test_txt": "a\tr\t\r\n"}, r"test\.txt:1: an empty head, relation or tail"),
        ({"train_txt": ""}, r"train\.txt: no triples"),
        ({"valid_txt": "\n"}, r"valid\.txt:1: 1 column"),
        ({"test_txt": None}, r"test\.txt: no such file"),
        ({"train_txt": b"a\tr\tb\n\xff\tr\tb\n"}, r"train\.txt: not UTF-8 at byte 6"),
        ({"train_txt": "a\tr\tb\n".encode("utf-16")}, r"train\.txt: not UTF-8 at byte 0"),
        ({"valid_txt": "a\tr\tb\na\tr\tnobody\n"}, r"valid\.txt:2: unknown entity 'nobody'.*train\.txt"),
        ({"test_txt": "nobody\tr\ta\n"}, r"test\.txt:1: unknown entity 'nobody'"),
        ({"entity2text_tsv": "a\tAnna\nb\n"}, r"entity2text\.tsv:2: 1 column\(s\), expected at least 2"),
        ({"entity2text_tsv": b"a\t\xe9\n"}, r"entity2text\.tsv: not UTF-8 at byte 2"),
        ({"relation2text_tsv": "r\n"}, r"relation2text\.tsv:1: 1 column"),
        ({"entity2image_tsv": "a\n"}, r"entity2image\.tsv:1: 1 column"),
        ({"entity2image_tsv": "a\tx.png\na\t../x.png\n"}, r"entity2image\.tsv:2: image path '\.\./x\.png'"),
        ({"entity2image_tsv": "a\tx/../../y.png\n"}, r"entity2image\.tsv:1: image path"),
        ({"entity2image_tsv": "nobody\t/etc/passwd\n"}, r"entity2image\.tsv:1: image path '/etc/passwd'"),
        ({"entity2image_tsv": "a\tx.png\n"}, r"entity2image\.tsv: lists images, but there is no folder images/"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, changes, message):
    # Four levels down, so that no folder images/ of somebody else is found above.
    folder = tmp_path / "1" / "2" / "3"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=message) as error:
        read_graph(write(folder / "toy", **changes))
    assert str(folder) in str(error.value)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_graph(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"nowhere: no such folder or file"):
        load_graph(str(tmp_path / "nowhere"))


def test_missing_split_of_an_inductive_folder(tmp_path):
    folder = write(tmp_path, inference_graph_txt="x\tr\ty\n")
    with pytest.raises(DataError, match=r"inference_valid\.txt: no such file\. The inference graph .* needs inference_graph"):
        read_graph(folder)
    with pytest.raises(DataError, match=r"inference_test\.txt"):
        read_graph(write(folder, inference_valid_txt="x\tr\ty\n"), "inference")


@pytest.mark.parametrize("name", ["train.txt", *DESCRIPTIONS])
def test_a_folder_in_place_of_a_file(tmp_path, name):
    folder = write(tmp_path / "toy", **({"train_txt": None} if name == "train.txt" else {}))
    (folder / name).mkdir()
    with pytest.raises(DataError, match=name):
        read_graph(folder)


def test_unknown_entities_that_are_accepted(tmp_path):
    folder = write(tmp_path / "toy", test_txt="a\tr\tnobody\n")
    assert facts(read_graph(folder, keep_unseen_entities=True), "test") == [("a", "r", "nobody")]
    assert load_graph(str(folder), keep_unseen_entities=True).entities[-1] == "nobody"
    (folder / "entity2text.tsv").write_text("nobody\tis described\n")
    assert read_graph(folder).texts[-1] == "is described"
    (folder / "entity2text.tsv").unlink()
    (folder / "entity2image.tsv").write_text("nobody\tface.png\n")
    (folder / "images").mkdir()
    assert read_graph(folder).images[-1] == ("face.png",)


def test_unknown_relation_in_a_held_out_split_is_read(tmp_path):
    graph = read_graph(write(tmp_path, test_txt="a\tq\tb\n"))
    assert graph.relations == ("r", "s", "q")


@settings(max_examples=100)
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=8), st.lists(NAMES, min_size=1, max_size=8))
def test_any_names_survive_the_round_trip(tmp_path_factory, rows, words):
    """F2: what is written is read, to the last bidi mark."""
    lines = "".join("\t".join(row) + "\n" for row in rows)
    entities = list(dict.fromkeys(name for head, _, tail in rows for name in (head, tail)))
    texts = {entity: words[i % len(words)] for i, entity in enumerate(entities)}
    folder = write(
        tmp_path_factory.getbasetemp() / "round_trip",
        **dict.fromkeys(("train_txt", "valid_txt", "test_txt"), lines),
        entity2text_tsv="".join(f"{entity}\t{text}\n" for entity, text in texts.items()),
    )
    graph = read_graph(folder)
    assert graph.entities == tuple(entities)
    assert graph.relations == tuple(dict.fromkeys(relation for _, relation, _ in rows))
    assert graph.labels == graph.texts == tuple(texts.values())
    assert facts(graph, "train") == list(dict.fromkeys(rows))
    assert facts(graph, "test") == rows


@pytest.mark.skipif(not REAL.is_dir(), reason="TOFU_JAX_DATA names no folder with grail/fb237_v1")
def test_real_inductive_folder():
    training, inference = read_graph(REAL, "training"), read_graph(REAL)
    assert (training.num_entities, len(training.relations)) == (1_594, 180)
    assert [len(split) for split in (training.train, training.valid, training.test)] == [4_245, 489, 492]
    assert (inference.num_entities, len(inference.relations)) == (1_093, 142)
    assert [len(split) for split in (inference.train, inference.valid, inference.test)] == [1_993, 206, 205]
    assert not set(training.entities) & set(inference.entities)
    assert set(inference.relations) <= set(training.relations)
    assert np.mean([bool(text) for text in inference.texts]) > 0.9
