"""Exported models: read back bit by bit, told about in words, and written whole or not at all."""

import dataclasses
import hashlib
import json
import os

import numpy as np
import pytest
from making import CODEBOOKS, random_graph, random_tokens
from safetensors.numpy import load_file

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.model_folder import CARD, CONFIG, FILES, FORMAT_VERSION, WEIGHTS
from tofu_jax.inference.pretrained import load_pretrained

pytestmark = pytest.mark.usefixtures("quick_loading")


def test_parameters_and_scores_are_the_same_bit_by_bit(bits, small_model, exported):
    loaded = load_pretrained(exported)
    assert bits(loaded.params) == bits(small_model.params)
    assert loaded.model == small_model.model
    assert (loaded.num_examples, loaded.step) == (small_model.num_examples, small_model.step)
    assert loaded.source == f"{exported} step 12"
    assert {k: v.sha256 for k, v in loaded.tokenizers.codebooks.items()} == {
        k: v.sha256 for k, v in small_model.tokenizers.codebooks.items()
    }
    random = np.random.default_rng(1)
    graph = random_graph(random, 9, 3, 5)
    prepared = PreparedGraph.create(graph, random_tokens(random, graph), CODEBOOKS)
    queries = np.array([[h, r] for r in range(graph.num_relations) for h in range(2)], np.int32)
    scores = [model.scorer(prepared)(queries) for model in (small_model, loaded)]
    assert np.isfinite(scores[0]).all()
    assert scores[0].tobytes() == scores[1].tobytes()


def test_an_export_of_an_export_is_the_same(exported, tmp_path):
    load_pretrained(exported).save_pretrained(tmp_path / "again", name="small", licence="cc-by-4.0")
    assert sorted(os.listdir(tmp_path / "again")) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes()


def test_what_the_folder_tells(exported, small_model):
    config = json.loads((exported / CONFIG).read_text())
    assert config["format_version"] == FORMAT_VERSION
    assert config["weights_sha256"] == hashlib.sha256((exported / WEIGHTS).read_bytes()).hexdigest()
    assert config["graphs"] == small_model.meta["graphs"]
    assert config["sources"] == small_model.meta["sources"]
    assert "note" not in config
    assert all(name == "image_codebook" or name.startswith("params/") for name in load_file(exported / WEIGHTS))


def test_images_need_their_token_file_where_they_did_before(model_of_imported_tokens, imported_tokens, small_model, tmp_path):
    """The codebook of imported tokens travels; ids have to be given."""
    model_of_imported_tokens.save_pretrained(tmp_path / "imported")
    loaded = load_pretrained(tmp_path / "imported")
    assert loaded.tokenizers.codebooks["image"].sha256 == imported_tokens.codebook.sha256
    with pytest.raises(CheckpointError, match="give those of this graph"):
        loaded.tokenizers.image([["a.png"]], None, ["a"], 2)
    with_ids = load_pretrained(tmp_path / "imported", image_tokens=imported_tokens)
    ids, mask = with_ids.tokenizers.image([["a.png"]], None, ["a"], 2)
    assert (ids.tolist(), mask.tolist()) == ([[3, 1]], [[True, True]])
    with pytest.raises(CheckpointError, match="trained with codebook imported-5x6"):
        load_pretrained(tmp_path / "imported", image_tokens=small_model.tokenizers.image)


def test_a_model_without_images(model_without_images, tmp_path):
    model_without_images.save_pretrained(tmp_path / "bare")
    assert load_pretrained(tmp_path / "bare").tokenizers.image is None


def test_an_older_export_is_replaced_and_nothing_else_is(copy, small_model, tmp_path):
    folder = copy(tmp_path / "model", step=3)
    small_model.save_pretrained(folder)
    assert load_pretrained(folder).step == 12
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / CONFIG).write_text("{}")
    with pytest.raises(DataError, match=r"holds other files \(checkpoints\)"):
        small_model.save_pretrained(run)
    with pytest.raises(DataError, match="a file; give a folder"):
        small_model.save_pretrained(run / CONFIG)
    with pytest.raises(DataError, match="cannot be written"):
        small_model.save_pretrained(run / CONFIG / "below")
    assert (run / CONFIG).read_text() == "{}"


def test_a_write_that_fails_leaves_a_folder_that_is_refused(small_model, tmp_path, monkeypatch):
    def full(path, content):
        if path.name == CONFIG:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("tofu_jax.inference.model_folder.write_whole", full)
    with pytest.raises(DataError, match="No space left"):
        small_model.save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        load_pretrained(tmp_path / "model")


@pytest.mark.parametrize("missing", ["sources", "graphs", "codebooks"])
def test_a_checkpoint_that_does_not_tell_its_training_data_is_not_exported(small_model, tmp_path, missing):
    meta = {key: value for key, value in small_model.meta.items() if key != missing}
    with pytest.raises(CheckpointError, match=f"does not tell '{missing}'"):
        dataclasses.replace(small_model, meta=meta).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_arguments_that_cannot_be_used(small_model, tmp_path):
    for bad, error, message in (
        ({"licence": "CC BY 4.0"}, DataError, "identifier of it"),
        ({"licence": "mit\nbase_model: x"}, DataError, "identifier of it"),
        ({"name": "two\nlines"}, CheckpointError, r"config.json: name: a text of .* unprintable"),
        ({"figures": [tmp_path / "nowhere.json"]}, DataError, "nowhere.json: no results of an evaluation"),
    ):
        with pytest.raises(error, match=message):
            small_model.save_pretrained(tmp_path / "model", **bad)
    assert not (tmp_path / "model").exists()


def test_the_card_is_not_read(copy, tmp_path):
    folder = copy(tmp_path / "model")
    (folder / CARD).unlink()
    assert load_pretrained(folder).step == 12
