"""Pre-training of the model that the package ships: many graphs, and no fact of any of them that a benchmark asks for.

    python launch/pretrain.py --config=configs/foundation.py:<folder> --workdir=runs/foundation
    python launch/pretrain.py --config=configs/foundation.py:<folder> --workdir=runs/foundation2 \\
        --initial_model=runs/foundation --config.seed=1 --config.steps=6500
    python launch/pretrain.py --config=configs/foundation.py:<folder> --workdir=runs/foundation3 \\
        --initial_model=runs/foundation2 --config.seed=2 --config.steps=5500 --config.batch.examples=6 \\
        --config.optimizer.learning_rate=7e-4
    python launch/pretrain.py --config=configs/foundation.py:<folder> --workdir=runs/foundation4 \\
        --initial_model=runs/foundation3 --config.seed=3 --config.steps=1600 --config.batch.examples=6 \\
        --config.optimizer.learning_rate=7e-4 --config.optimizer.warmup_steps=60
    python launch/pretrain.py --config=configs/foundation.py:<folder> --workdir=runs/foundation5 \\
        --initial_model=runs/foundation4 --config.seed=5 --config.steps=2400 --config.batch.examples=6 \\
        --config.optimizer.learning_rate=7e-4 --config.optimizer.warmup_steps=60
    tofu-jax export --checkpoint=runs/foundation5 --output=<folder> --name=tofu-small --licence=apache-2.0 --examples=8

All but the first go on with other sub-graphs of the large graphs; the last writes the model. On two cores the five take 72, 70,
78, 20 and 38 minutes, the first three with other work beside them, and texts are encoded once, in 15 minutes. Expected figures:
a mean MRR of .551 on fb237_v1 to fb237_v4, .745 on WN18RR_v1 to WN18RR_v4 (valid and test), .406 on DB15K and .382 on MKG-W;
all of them: docs/evaluation.md.

The shipped model saw its first three stages before the model had the message of any neighbour and the content match, and the
fourth before it had mentions, overlap of relations and vectors of whole texts (docs/ablations.md); each stage began with what
was learned before and with fresh parameters, or zeros, for what was new. Nobody has yet run all five commands with the model as
it is. What it learns from nothing, in a sixth of the steps, is near:

    python launch/pretrain.py --config=configs/foundation.py:<folder> --workdir=runs/short --config.steps=4000

took 97 minutes with other work beside it, and comes to .544 on fb237_v1 to fb237_v4, .734 on WN18RR_v1 to WN18RR_v4, .399
on DB15K and .380 on MKG-W (docs/evaluation.md, “A second model”). All 8,000 steps (88 minutes) and 2,400 more come to .545 on
fb237_v1 to fb237_v4 and .744 on WN18RR_v1 to WN18RR_v4: docs/ablations.md, “More training with texts”.

<folder> holds the training graphs below, each as a folder of text files, and evaluation_triples.npy, the keys of all
validation and test facts of the evaluation graphs (tofu_jax/graphs/excluded_facts.py). The inference graphs of grail/, DB15K
and MKG-W are not among them; facts of the former that nobody asks for do stand in FB15k-237 and WN18RR.
"""

import ml_collections

from tofu_jax.training.defaults import default_config

GRAIL = [f"grail/{family}_v{i}" for family in ("fb237", "WN18RR", "nell") for i in (1, 2, 3, 4)]
WHOLE = ["FB15k-237", "CoDEx-S", "CoDEx-M", "WN18RR", "NELL-995", "WN9-IMG", "WN-IMGNET", "UMLS", "Kinship", "Nations"]


def get_config(folder: str) -> ml_collections.ConfigDict:
    """The experiment for data in `folder`."""
    config = default_config()
    config.graphs = ("countries", "emoji", *(f"{folder}/{name}" for name in GRAIL + WHOLE))
    config.exclude = (f"{folder}/evaluation_triples.npy",)
    config.keep_unseen_entities = True
    config.subgraph_facts = 15_000
    config.subgraphs = 6
    config.steps = 8_000
    config.evaluate_every = 2_000
    config.checkpoint_every = 250
    config.valid_triples = 50
    config.optimizer.warmup_steps = 200
    return config
