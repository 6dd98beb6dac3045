"""Knowledge graphs as a TFDS data set: how a graph is cut into examples and put together again.

An example is a block of up to 4,096 facts, entities or relations: TFDS costs time per example, not per fact.

    split                features that are filled (the others are empty)
    train, valid, test   triples
    entities             ids, labels, texts, num_images, images: the files of all its entities, one after another
    relations            ids, labels

Importing this module imports TFDS, which takes more than half a second; `store` does it when a graph is written or opened.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tofu_jax.graphs.datasets import store
from tofu_jax.graphs.datasets.loading import config_name, load_dataset
from tofu_jax.graphs.datasets.registry import DATASETS
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.readers import Part
from tofu_jax.shapes import Array

BLOCK = 4096  # facts, entities or relations in an example


@dataclasses.dataclass(eq=False)
class GraphConfig(tfds.core.BuilderConfig):
    """A graph that can be stored.

    Attributes:
      load: returns the graph and its provenance (JSON values).
    """

    load: Callable[[], tuple[KnowledgeGraph, Mapping[str, Any]]] | None = None


def _registered() -> list[GraphConfig]:
    """A config for each part of each data set, as repaired and as published."""
    return [
        GraphConfig(
            name=config_name(dataset, part, as_published),
            description=dataset.notes,
            load=functools.partial(_load, dataset.name, part, as_published),
        )
        for dataset in DATASETS.values()
        for part in dataset.parts
        for as_published in ([False, True] if dataset.repair else [False])
    ]


def _load(name: str, part: Part, as_published: bool) -> tuple[KnowledgeGraph, Mapping[str, Any]]:
    return load_dataset(name, part, as_published=as_published), {"dataset": name, "part": part, "as_published": as_published}


class KnowledgeGraphs(tfds.core.ShardBasedBuilder):
    """Knowledge graphs in blocks; written in order, without shuffling.

    The registered configs are those of the registry; TFDS prepares one like any of its own data sets.
    """

    name = store.TFDS_NAME
    VERSION = tfds.core.Version(store.VERSION)
    BUILDER_CONFIGS = _registered()
    code_path = None  # TFDS would look beside the code for a list of downloads, by way of a package that it does not ask for

    def _info(self) -> tfds.core.DatasetInfo:
        texts = tfds.features.Sequence(tfds.features.Text())
        return tfds.core.DatasetInfo(
            builder=self,
            description="A multi-modal knowledge graph: facts of three splits, entities and relations.",
            features=tfds.features.FeaturesDict(
                {
                    "triples": tfds.features.Tensor(shape=(None, 3), dtype=np.int32, doc="head, relation, tail"),
                    "ids": texts,
                    "labels": texts,
                    "texts": texts,
                    # A sequence of sequences would say it in one feature; TFDS cannot write those without TensorFlow.
                    "num_images": tfds.features.Tensor(shape=(None,), dtype=np.int32),
                    "images": texts,
                }
            ),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, list[Callable[[], Iterator]]]:
        graph, provenance = self.builder_config.load()
        self.info.metadata.update(
            name=graph.name,
            fingerprint=graph.fingerprint,
            image_root=None if graph.image_root is None else str(graph.image_root),
            provenance=dict(provenance),
        )
        return {split: [functools.partial(_blocks, graph, split)] for split in store.SPLITS}

    def _post_download_and_prepare_hook(self) -> None:
        store.write_checksums(pathlib.Path(self.data_dir))


def _blocks(graph: KnowledgeGraph, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number, example); one empty block where there is nothing, since TFDS cannot read a split of no examples."""
    empty = {"triples": np.zeros((0, 3), np.int32), "num_images": np.zeros(0, np.int32)}
    empty |= {"ids": (), "labels": (), "texts": (), "images": ()}
    for start in range(0, max(len(getattr(graph, split)), 1), BLOCK):
        block = slice(start, start + BLOCK)
        if split == "entities":
            filled = {
                "ids": graph.entities[block],
                "labels": graph.labels[block],
                "texts": graph.texts[block],
                "num_images": np.array([len(paths) for paths in graph.images[block]], np.int32),
                "images": list(itertools.chain.from_iterable(graph.images[block])),
            }
        elif split == "relations":
            filled = {"ids": graph.relations[block], "labels": graph.relation_labels[block]}
        else:
            filled = {"triples": getattr(graph, split)[block]}
        yield start // BLOCK, empty | filled


def read_blocks(folder: pathlib.Path) -> KnowledgeGraph:
    """Puts the graph of a stored folder together; whether it is the one that was written is for `store` to check."""
    source = tfds.builder_from_directory(folder).as_data_source()
    metadata = store.read_metadata(folder)
    entities, relations = list(source["entities"]), list(source["relations"])
    root = metadata["image_root"]
    return KnowledgeGraph(
        name=metadata["name"],
        entities=_texts(entities, "ids"),
        relations=_texts(relations, "ids"),
        train=_triples(source["train"]),
        valid=_triples(source["valid"]),
        test=_triples(source["test"]),
        labels=_texts(entities, "labels"),
        texts=_texts(entities, "texts"),
        images=_images(entities),
        image_root=None if root is None else folder / root,
        relation_labels=_texts(relations, "labels"),
    )


def _texts(examples: Iterable[Mapping[str, Any]], feature: str) -> tuple[str, ...]:
    return tuple(text.decode() for example in examples for text in example[feature])


def _images(examples: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    images = []
    for example in examples:
        paths = iter([path.decode() for path in example["images"]])
        images += [tuple(itertools.islice(paths, count)) for count in example["num_images"].tolist()]
    return tuple(images)


def _triples(examples: Iterable[Mapping[str, Any]]) -> Array:
    return np.concatenate([example["triples"] for example in examples])
