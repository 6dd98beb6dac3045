"""Named data sets and the store in which graphs lie prepared.

    load_dataset("FB15k-237")                          downloaded, checked and stored once, then opened in a moment
    write_graph(graph, folder, provenance)             any graph can be stored ...
    open_graph(folder)                                 ... and is the same when it is opened
    DATASETS["DB15K"].notes                            licence, citation, known defects

What is stored are TFDS data sets. `tfds.builder_from_directory(folder)` reads any; after importing
`tofu_jax.graphs.datasets.builder`, `tfds.data_source("knowledge_graph/FB15k-237", data_dir=data_folder())` works as well.
"""

from tofu_jax.graphs.datasets.loading import data_folder, load_dataset
from tofu_jax.graphs.datasets.registry import DATASETS
from tofu_jax.graphs.datasets.store import is_stored, open_graph, read_provenance, write_graph

__all__ = ["DATASETS", "data_folder", "is_stored", "load_dataset", "open_graph", "read_provenance", "write_graph"]
