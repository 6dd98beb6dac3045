"""The fields of a pre-training experiment and their defaults; configs/ holds what differs."""

import ml_collections


def default_config() -> ml_collections.ConfigDict:
    """All fields of an experiment; each can be overridden on the command line (--config.batch.heads=8)."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    # Training graphs: names of data sets, or folders; of an inductive one, its training graph.
    config.graphs = ("countries", "emoji")
    # Accepts held-out entities about which nothing is known (`readers`).
    config.keep_unseen_entities = False
    # Graphs on which the model will be judged, or .npy files of fact keys: their held-out facts leave the training graphs.
    config.exclude = ()
    # A graph of more facts is replaced by sub-graphs of so many, at most `subgraphs`; 0: all graphs stay whole.
    config.subgraph_facts = 0
    config.subgraphs = 8
    # A step draws one graph ∝ (number of facts) ** graph_exponent.
    config.graph_exponent = 0.5
    # Evaluated at the end, never trained on: names of data sets, or folders.
    config.zero_shot = ("elements",)
    config.steps = 500
    config.log_every = 1
    config.evaluate_every = 250
    config.checkpoint_every = 100
    # Held-out facts of each training graph that the evaluation ranks.
    config.valid_triples = 100

    config.tokens = ml_collections.ConfigDict()
    # "patches": the tokenizer that needs no download; else the path of an .npz of imported ids.
    config.tokens.images = "patches"
    config.tokens.image_codes = 1024
    config.tokens.text_tokens = 8
    config.tokens.image_tokens = 8

    config.model = ml_collections.ConfigDict()
    config.model.width = 32
    config.model.layers = 5
    config.model.prompt_layers = 3
    config.model.relation_layers = 4
    config.model.fusion_heads = 4
    config.model.operators = ("translation", "product", "rotation")

    config.batch = ml_collections.ConfigDict()
    config.batch.relations = 4
    config.batch.heads = 4
    config.batch.examples = 3
    config.batch.relation_masking = 0.5
    config.batch.modality_dropout = 0.2

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 1.0
    return config
