"""Which layout a folder has, and what is special about each."""

import json

import pytest
from writing import FACTS, FORMATS, as_n_triples, as_tsv, named_facts, write_files

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers import read_graph, read_raw
from tofu_jax.graphs.registry import load_graph


def test_a_folder_without_a_graph_tells_what_it_holds_and_what_is_needed(tmp_path):
    write_files(tmp_path, {"notes.txt": b"", "more/train.txt": b""})
    message = r"no known layout\. It holds more/, notes\.txt\. Layouts(.|\n)*OpenKE: entity2id\.txt(.|\n)*split files: train"
    with pytest.raises(DataError, match=message):
        read_graph(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="It holds nothing"):
        read_graph(tmp_path / "empty")


def test_a_folder_of_two_layouts(tmp_path):
    write_files(tmp_path, FORMATS["OpenKE"].files(FACTS) | FORMATS["MyGO"].files(FACTS))
    with pytest.raises(DataError, match=r"several layouts at once \(OpenKE, MyGO\)"):
        read_graph(tmp_path)
    write_files(tmp_path / "other", {"train.txt": b"", "msg.txt": b"", "inference.txt": b""})
    with pytest.raises(DataError, match=r"several layouts at once \(InGram, ILPC 2022\)"):
        read_graph(tmp_path / "other")


def test_a_split_in_two_files(tmp_path):
    write_files(tmp_path, {"train.txt": b"a\tr\tb\n", "train.csv.gz": b""})
    with pytest.raises(DataError, match=r"train\.txt and train\.csv\.gz hold the same split"):
        read_graph(tmp_path)
    write_files(tmp_path / "other", FORMATS["TSV"].files(FACTS) | {"entity2text.tsv": b"", "entity2text.csv": b""})
    with pytest.raises(DataError, match=r"entity2text\.tsv and entity2text\.csv"):
        read_graph(tmp_path / "other")


def test_splits_of_several_formats(tmp_path):
    files = {"train.nt": as_n_triples(FACTS["train"]), "valid.tsv": as_tsv(FACTS["valid"]), "test.txt": as_tsv(FACTS["test"])}
    assert read_graph(write_files(tmp_path, files)).summary().startswith(f"{tmp_path.name}: 3 entities, 2 relations, 3 / 1 / 2")


def test_an_unknown_suffix_and_nothing_at_all(tmp_path):
    (tmp_path / "graph.json").write_text("{}")
    with pytest.raises(DataError, match=r"graph\.json: unknown suffix; .* ends in \.txt"):
        read_graph(tmp_path / "graph.json")
    with pytest.raises(DataError, match="nowhere: no such folder or file"):
        read_raw(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["InGram", "ILPC 2022"])
def test_nothing_is_held_out_of_these_training_graphs(tmp_path, name):
    write_files(tmp_path, FORMATS[name].files(FACTS))
    graph = read_graph(tmp_path, "training")
    assert named_facts(graph, "train") == [("http://x.org/other", "http://x.org/r", "http://x.org/one")]
    assert len(graph.valid) == len(graph.test) == 0


def test_grail_reads_the_folder_that_is_named(tmp_path):
    form = FORMATS["GraIL"]
    write_files(tmp_path, form.files(FACTS))
    training, inference = read_graph(tmp_path / "x"), read_graph(tmp_path / "x", "inference")
    assert (training.name, training.entities) == ("x", ("http://x.org/other", "http://x.org/one"))
    assert (inference.name, inference.fingerprint) == ("x_ind", read_graph(tmp_path / "x_ind").fingerprint)


def test_grail_through_a_link_and_from_within(tmp_path, monkeypatch):
    write_files(tmp_path / "data", FORMATS["GraIL"].files(FACTS))
    (tmp_path / "linked").symlink_to(tmp_path / "data" / "x")
    expected = read_graph(tmp_path / "data" / "x_ind").fingerprint
    assert read_graph(tmp_path / "linked", "inference").fingerprint == expected
    monkeypatch.chdir(tmp_path / "data" / "x")
    assert read_graph(".", "inference").fingerprint == expected
    assert read_graph(".").name == "x"


@pytest.mark.parametrize("name", ["TSV", "OpenKE", "MyGO", "CoDEx"])
def test_no_inference_graph(tmp_path, name):
    write_files(tmp_path, FORMATS[name].files(FACTS))
    with pytest.raises(DataError, match="holds no inference graph"):
        read_graph(tmp_path / FORMATS[name].path, "inference")


def test_one_rdf_file_is_a_graph_by_name_and_by_folder(tmp_path):
    (tmp_path / "toy.nt").write_bytes(as_n_triples(FACTS["train"]))
    by_name, by_folder = read_graph(tmp_path / "toy.nt"), load_graph(str(tmp_path))
    assert by_name.fingerprint == by_folder.fingerprint
    assert len(by_folder.train) == 3
    (tmp_path / "more.ttl").write_bytes(as_n_triples(FACTS["test"]))
    with pytest.raises(DataError, match="no known layout"):
        read_graph(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train2id.txt", b"3\n0 1 0\n", r"train2id\.txt:1: says '3', but 1 lines follow"),
        ("train2id.txt", b"1\n0 1\n", r"train2id\.txt:2: 2 column\(s\), expected 3, separated by spaces"),
        ("train2id.txt", b"2\n0 1 0\n0 9 0\n", r"train2id\.txt:3: '9' is not in entity2id\.txt"),
        ("train2id.txt", b"2\n0 1 0\n0 1 x\n", r"train2id\.txt:3: 'x' is not in relation2id\.txt"),
        ("train2id.txt", b"2\n0 1 0\n\n", r"train2id\.txt:3: 1 column"),
        ("train2id.txt", b"0\n", r"train2id\.txt: no triples"),
        ("entity2id.txt", b"2\na\t0\nb 1\nc\t2\n", r"entity2id\.txt:1: says '2', but 3 lines follow"),
        ("entity2id.txt", b"1\na\n", r"entity2id\.txt:2: expected a name and its number, got 'a'"),
        ("entity2id.txt", b"2\na\t0\nb\t0\n", r"entity2id\.txt:3: number 0 stands twice"),
        ("entity2id.txt", b"2\na\t0\na\t1\n", r"entity2id\.txt: a name has two numbers"),
        ("entity2id.txt", b"", r"entity2id\.txt:1: says ''"),
        ("relation2id.txt", b"\xff", r"relation2id\.txt: not UTF-8"),
    ],
)
def test_mistakes_in_openke_files(tmp_path, name, content, message):
    write_files(tmp_path, FORMATS["OpenKE"].files(FACTS) | {name: content})
    with pytest.raises(DataError, match=message):
        read_graph(tmp_path)


def test_openke_takes_tabs_and_windows_line_ends_and_names_with_spaces(tmp_path):
    files = {name: b"1\r\n0\t1\t0\r\n" for name in ("train2id.txt", "valid2id.txt", "test2id.txt")}
    files |= {"entity2id.txt": b"2\r\nNew York 0\r\na\tb\t1\r\n", "relation2id.txt": b"1\r\nr\t0\r\n"}
    assert named_facts(read_graph(write_files(tmp_path, files)), "test") == [("New York", "r", "a\tb")]


def test_mygo_without_uris_keeps_the_names_of_the_facts(tmp_path):
    """As DB15K: the keys of the token files are these numbers."""
    files = {name: data for name, data in FORMATS["MyGO"].files(FACTS).items() if "2id" not in name}
    graph = read_graph(write_files(tmp_path, files))
    assert named_facts(graph, "valid") == [("2", "1", "0")]
    write_files(tmp_path, {"valid.txt": b"0\t1\t2\n0\t1\t3\n"})
    with pytest.raises(DataError, match=r"valid\.txt:2: '3' is not in entities\.txt"):
        read_graph(tmp_path)


def test_codex_texts(tmp_path):
    files = {f"triples/codex-s/{split}.txt": b"Q1\tP1\tQ2\n" for split in ("train", "valid", "test")}
    files["entities/en/entities.json"] = json.dumps(
        {"Q1": {"label": "one", "description": "a number", "wiki": ""}, "Q2": {"label": "", "description": "no label"}}
    ).encode()
    files["relations/en/relations.json"] = b'{"P1": {"label": "is less than", "description": "x"}, "P2": {"label": "y"}}'
    write_files(tmp_path, files)
    folder = tmp_path / "triples" / "codex-s"
    graph = read_graph(folder)
    assert (graph.labels, graph.texts) == (("one", "Q2"), ("one a number", "no label"))
    assert graph.relation_labels == ("is less than",)
    more = {
        "entities/en/extracts/Q1.txt": b"One is a number.",
        "types/entity2types.json": b'{"Q1": ["Q3", "Q4"]}',
        "types/en/types.json": b'{"Q3": {"label": "integer"}}',
    }
    write_files(tmp_path, more)
    assert read_graph(folder).texts == ("one One is a number. integer", "no label")
    for content, message in [
        (b'{\n"Q1": {"label"', r"entities\.json:2: not JSON"),
        (b"[]", r"entities\.json: expected an object"),
        (b'{"Q1": []}', r"entities\.json, 'Q1': expected"),
        (b'{"Q1": {"label": 1}}', r"entities\.json, 'Q1': expected"),
        (b'{"Q1": {"label": "\\ud800"}}', r"entities\.json:1: .* half a surrogate pair"),
        (b"[" * 100_000, r"entities\.json: cannot be read as JSON"),
    ]:
        write_files(tmp_path, {"entities/en/entities.json": content})
        with pytest.raises(DataError, match=message):
            read_graph(folder)


def test_codex_ids_lead_nowhere(tmp_path):
    """F3: an id is no path."""
    facts = b"../../../secret\tP1\t/etc/passwd\n"
    files = {f"triples/codex-s/{split}.txt": facts for split in ("train", "valid", "test")}
    files |= {"entities/en/entities.json": b"{}", "relations/en/relations.json": b"{}", "secret.txt": b"secret"}
    write_files(tmp_path, files | {"entities/en/extracts/Q1.txt": b"One"})
    assert read_graph(tmp_path / "triples" / "codex-s", keep_unseen_entities=True).texts == ("", "")
