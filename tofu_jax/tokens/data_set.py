"""A graph, its tokens and its image codebook in one folder: a data set that every run opens without reading texts or images.

    dataset_info.json …                the graph, see graphs.datasets.store
    tokens.npz                         its tokens (token_file)
    image_codebook.npz                 the vectors behind its image tokens
    broken_images.txt                  why, image by image, where some could not be read

`load_graph` opens it like any other stored graph.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import rich.console

from tofu_jax.errors import DataError
from tofu_jax.graphs.datasets.store import TOKENS_NAME, is_stored, read_provenance, write_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.graph_tokens import GraphTokens
from tofu_jax.tokens.image import ImageTokenizer, PatchTokenizer
from tofu_jax.tokens.precomputed import PrecomputedTokens
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.token_file import entity_digests, write_tokens
from tofu_jax.tokens.tokenizers import Tokenizers

CODEBOOK_NAME = "image_codebook.npz"
BROKEN_NAME = "broken_images.txt"


@dataclasses.dataclass(frozen=True)
class PatchFit:
    """A patch codebook that is still to be learned from the images of the graph.

    Attributes:
      num_codes: K.
      seed: of the fit.
      workers: processes that read images.
    """

    num_codes: int = 1024
    seed: int = 0
    workers: int = 1


def tokenize_data_set(
    graph: KnowledgeGraph,
    output: str | os.PathLike[str],
    image: ImageTokenizer | PatchFit | None,
    console: rich.console.Console,
    num_text_tokens: int = 8,
    num_image_tokens: int = 8,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a graph as a tokenised data set; called again after a kill, it goes on where it was.

    What is unfinished lies in <output>.partial; the folder `output` appears when all of it is there. If it is there already and
    was made of the same graph with the same settings, nothing is done.

    Args:
      graph: to tokenise; its own token file is not used.
      output: folder to write.
      image: tokenizer of images; None leaves them out.
      console: for progress.
      num_text_tokens, num_image_tokens: T, V.
      provenance: where the graph comes from, JSON values; stored with it.

    Raises:
      DataError: `output` or its unfinished work is of another graph or other settings, or images cannot be used.
    """
    output = pathlib.Path(output).absolute()
    partial = output.with_name(output.name + ".partial")
    text = TextTokenizer.load()
    settings = _settings(graph, text, image, num_text_tokens, num_image_tokens)
    if _is_done(output, settings):
        shutil.rmtree(partial, ignore_errors=True)
        console.print(f"{output} is there already, with the same graph and settings", highlight=False, soft_wrap=True)
        return
    work = ChunkedWork(console, partial, settings)
    if isinstance(image, PatchFit):
        image = _fitted(graph, image, partial / CODEBOOK_NAME, console, work)
    tokenizers = Tokenizers(text, image, num_text_tokens, num_image_tokens)
    tokens = tokenizers.tokenize(graph, work)
    folder = partial / "data_set"
    shutil.rmtree(folder, ignore_errors=True)
    write_graph(graph, folder, {**(provenance or {}), "tokens": settings})
    write_tokens(folder / TOKENS_NAME, tokens, graph, tokenizers.codebooks)
    tokenizers.codebooks["image"].save(folder / CODEBOOK_NAME)
    if work.broken_images:
        reasons = (" ".join(reason.split()) for reason in work.broken_images.values())
        (folder / BROKEN_NAME).write_text("".join(f"{reason}\n" for reason in reasons), encoding="utf-8")
    os.replace(folder, output)
    shutil.rmtree(partial)
    console.print(_summary(graph, tokens, work, output), highlight=False, soft_wrap=True)


def _settings(
    graph: KnowledgeGraph,
    text: TextTokenizer,
    image: ImageTokenizer | PatchFit | None,
    num_text_tokens: int,
    num_image_tokens: int,
) -> dict[str, str]:
    """All that the result depends on, except for what is in the image files."""
    if isinstance(image, PatchFit):
        seen = f"{image.num_codes} codes of patches, fit on this graph with seed {image.seed}"
    else:
        seen = f"{image.codebook.name}, sha256 {image.codebook.sha256}" if image else "none"
    if isinstance(image, PrecomputedTokens):
        seen += f", ids from {image.source}"
    return {
        "facts": graph.fingerprint,
        "names, texts and image lists": hashlib.sha256(entity_digests(graph)).hexdigest(),
        "text codebook": f"{text.codebook.name}, sha256 {text.codebook.sha256}",
        "image codebook": seen,
        "text tokens per entity": str(num_text_tokens),
        "image tokens per entity": str(num_image_tokens),
    }


def _is_done(output: pathlib.Path, settings: Mapping[str, str]) -> bool:
    """Whether the folder holds the result; raises a `DataError` if it holds anything else."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if is_stored(output) and (output / TOKENS_NAME).is_file() and read_provenance(output).get("tokens") == settings:
        return True
    raise DataError(f"{output}: exists and is not this graph with these tokens; delete it, or choose another --output.")


def _fitted(
    graph: KnowledgeGraph, fit: PatchFit, path: pathlib.Path, console: rich.console.Console, work: ChunkedWork
) -> PatchTokenizer | None:
    """The codebook that was learned before a kill, or a new one; None where no image can be read."""
    if path.exists():
        return PatchTokenizer(Codebook.load(path), fit.workers)
    paths = [graph.image_root / image for images in graph.images for image in images]
    if not paths:
        return None
    console.print(f"learning an image codebook of {fit.num_codes:,} codes …", highlight=False)
    tokenizer = PatchTokenizer.fit(paths, fit.num_codes, fit.seed, workers=fit.workers, work=work)
    if tokenizer is not None:
        tokenizer.codebook.save(path)
    return tokenizer


def _summary(graph: KnowledgeGraph, tokens: GraphTokens, work: ChunkedWork, output: pathlib.Path) -> str:
    texts, images = (int(tokens.of(modality)[1].any(axis=1).sum()) for modality in ("text", "image"))
    broken = f", {len(work.broken_images):,} images cannot be read (see {BROKEN_NAME})" if work.broken_images else ""
    size = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    return (
        f"{output}: text tokens for {texts:,} and image tokens for {images:,} of {graph.num_entities:,} entities{broken}; "
        f"{size:.1f} MB, tokens.npz {(output / TOKENS_NAME).stat().st_size / 1e6:.1f} MB"
    )
