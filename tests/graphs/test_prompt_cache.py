"""Prompt graphs kept on disk: the same as built ones, never in the way, whatever happened to the files."""

import concurrent.futures
import dataclasses
import os
import threading

import numpy as np
import pytest
from making import CODEBOOKS, make_graph, random_graph, random_tokens

from tofu_jax.graphs import prompt_cache, prompts
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.prompt_cache import cache_key, prompt_index
from tofu_jax.graphs.prompts import PromptIndex


@pytest.fixture(scope="module")
def graph():
    return random_graph(np.random.default_rng(0), 60, 5, 40)


@pytest.fixture(scope="module")
def records(graph):
    """All prompt graphs, built."""
    index = PromptIndex(graph)
    index.build(np.arange(len(index.records)))
    return index.records.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache's folder, for graphs of any size."""
    monkeypatch.setattr(prompt_cache, "LEAST_FACTS", 1)
    monkeypatch.setenv(prompt_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_search(monkeypatch):
    """no_search(): from then on a search is a mistake."""

    def forbid():
        monkeypatch.setattr(prompts, "PromptSearch", None)

    return forbid


def test_a_large_graph_is_searched_once(graph, records, folder, no_search):
    assert prompt_index(graph).records.tobytes() == records
    (file,) = folder.iterdir()
    assert file.stat().st_size == len(records) + 32
    no_search()
    index = PreparedGraph.create(graph, random_tokens(np.random.default_rng(0), graph), CODEBOOKS).prompts
    assert index.records.tobytes() == records
    every = np.arange(graph.num_relations)
    examples = np.tile(np.arange(prompts.POOL_SIZE + 1), (len(every), 1))
    available = [index.num_examples(relation) for relation in every]
    np.testing.assert_array_equal(index.prompts(every, examples).example_mask.sum(axis=1), available)


def test_prompts_from_the_cache_equal_built_ones(graph, folder):
    relations, examples = np.arange(graph.num_relations), np.tile(np.arange(5), (graph.num_relations, 1))
    prompt_index(graph)
    read, built = (index.prompts(relations, examples) for index in (prompt_index(graph), PromptIndex(graph)))
    for field in dataclasses.fields(read):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(built, field.name))


def test_a_small_graph_builds_what_is_asked_for_and_writes_nothing(graph, folder, monkeypatch):
    monkeypatch.setattr(prompt_cache, "LEAST_FACTS", len(graph.train) + 1)
    index = prompt_index(graph)
    index.prompts(np.array([0]), np.array([[0, 1]]))
    assert (index.records["num_nodes"] > 0).sum() == 2
    assert not folder.exists()


def test_a_graph_of_too_many_relations_builds_what_is_asked_for(graph, folder, monkeypatch):
    monkeypatch.setattr(prompt_cache, "MOST_RECORDS", 10)
    assert not prompt_index(graph).records["num_nodes"].any()
    assert not folder.exists()


def test_an_empty_variable_turns_the_cache_off(graph, folder, monkeypatch):
    monkeypatch.setenv(prompt_cache.VARIABLE, "")
    assert not prompt_index(graph).records["num_nodes"].any()
    assert not folder.exists()


def test_without_the_variable_it_is_the_users_cache_folder(graph, folder, monkeypatch, tmp_path):
    monkeypatch.delenv(prompt_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    prompt_index(graph)
    assert len(list((tmp_path / "tofu_jax" / "prompts").iterdir())) == 1


def damage(data, how):
    """The bytes of a file after an accident."""
    random = np.random.default_rng(0)
    if how == "a bit":
        position = int(random.integers(len(data)))
        return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
    return {"empty": b"", "cut": data[: len(data) // 2], "one more": data + b"\0", "digest": data[:32]}[how]


@pytest.mark.parametrize("how", ["a bit", "empty", "cut", "one more", "digest"])
def test_a_damaged_file_is_built_again_with_a_note(graph, records, folder, how, capsys, no_search):
    prompt_index(graph)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole, how))
    capsys.readouterr()
    assert prompt_index(graph).records.tobytes() == records
    assert f"{file}: damaged; the prompt graphs are built again" in capsys.readouterr().err
    assert file.read_bytes() == whole
    no_search()
    prompt_index(graph)


def test_the_file_of_another_graph_under_this_name_is_not_taken(graph, folder, records, capsys):
    other = make_graph(graph.num_entities, len(graph.relations), graph.train[::-1])
    prompt_index(other)
    (file,) = folder.iterdir()
    file.rename(folder / f"{cache_key(graph).hex()}.prompts")
    assert prompt_index(graph).records.tobytes() == records
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["a file where the folder should be", "a folder where the file should be"])
def test_a_cache_that_cannot_be_written_costs_a_note(graph, folder, records, what, capsys):
    if what.startswith("a file"):
        folder.write_text("")
    else:
        (folder / f"{cache_key(graph).hex()}.prompts").mkdir(parents=True)
    assert prompt_index(graph).records.tobytes() == records
    assert "cannot be kept (" in capsys.readouterr().err


def test_an_interrupted_write_leaves_nothing(graph, folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prompt_index(graph)
    assert not list(folder.iterdir())


def test_many_writers_at_once_are_harmless(graph, folder, records, no_search):
    barrier = threading.Barrier(4)

    def prepare():
        barrier.wait()
        return prompt_index(graph).records.tobytes()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(prepare) for _ in range(4)]]
    assert set(results) == {records}
    assert len(list(folder.iterdir())) == 1
    no_search()
    assert prompt_index(graph).records.tobytes() == records


def test_the_key_is_made_of_all_that_determines_prompt_graphs(graph):
    """And of nothing else: names and held-out facts do not count."""
    entities = tuple(f"other {name}" for name in graph.entities)
    same = dataclasses.replace(graph, name="other", entities=entities, labels=entities, valid=graph.train[:3])
    assert cache_key(same) == cache_key(graph)
    texts = ("a text", *graph.texts[1:])
    last = graph.train[-1] * [1, 0, 1] + [0, (graph.train[-1, 1] + 1) % len(graph.relations), 0]
    names, more = graph.relations, (*graph.relations, "one more")
    others = [
        dataclasses.replace(graph, texts=texts),
        dataclasses.replace(graph, train=graph.train[:-1]),
        dataclasses.replace(graph, train=np.concatenate([graph.train[:-1], last[None]]).astype(np.int32)),
        dataclasses.replace(graph, train=graph.train[::-1]),
        dataclasses.replace(graph, relations=more, relation_labels=more),
        make_graph(graph.num_entities + 1, len(names), graph.train),
    ]
    assert len({cache_key(other) for other in [graph, *others]}) == len(others) + 1


@pytest.mark.parametrize("constant", ["FORMAT", "NUM_HOPS", "NUM_NODES", "NUM_EDGES", "POOL_SIZE", "ROUNDS"])
def test_the_key_changes_with_each_constant(graph, constant, monkeypatch):
    before = cache_key(graph)
    monkeypatch.setattr(prompt_cache, constant, 99)
    assert cache_key(graph) != before
