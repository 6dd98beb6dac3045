"""The fields of a pre-training experiment and their defaults; configs/ holds what differs."""

import ml_collections


def default_config() -> ml_collections.ConfigDict:
    """All fields of an experiment; each can be overridden on the command line (--config.batch.heads=8)."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    # Training graphs: names of data sets, or folders; of an inductive one, its training graph.
    config.graphs = ("countries", "emoji")
    # Which graph of an inductive folder is meant: "training", "inference", or None for the inference graph where there is one.
    config.part = "training"
    # Where the facts come from that rate a step: "valid", or "train" for a tenth of the training facts, which then are not
    # trained on (for graphs whose validation facts also stand in train, or that have none).
    config.held_out = "valid"
    # Accepts held-out entities about which nothing is known (`readers`).
    config.keep_unseen_entities = False
    # Graphs on which the model will be judged, or .npy files of fact keys: their held-out facts leave the training graphs.
    config.exclude = ()
    # A graph of more facts is replaced by sub-graphs of so many, at most `subgraphs`; 0: all graphs stay whole.
    config.subgraph_facts = 0
    config.subgraphs = 8
    # A step draws one graph ∝ (number of facts) ** graph_exponent (0: uniform), or by weights, one for each of `graphs`.
    config.graph_exponent = 0.5
    config.graph_weights = ()
    # Over so many steps the shares of the graphs move there from those of another exponent, or of other weights; 0: at once.
    config.curriculum_steps = 0
    config.first_graph_exponent = 0.0
    config.first_graph_weights = ()
    # Evaluated at the end, never trained on: names of data sets, or folders.
    config.zero_shot = ("elements",)
    config.steps = 500
    config.log_every = 1
    config.evaluate_every = 250
    # Steps are saved at this interval, and whenever they are evaluated; the latest so many stay, and the best one.
    config.checkpoint_every = 100
    config.keep_last = 2
    # Ends the run where the held-out MRR has not risen for so many evaluations; 0: never.
    config.patience = 0
    # Held-out facts of each training graph that the evaluation ranks.
    config.valid_triples = 100

    config.tokens = ml_collections.ConfigDict()
    # "patches": the tokenizer that needs no download; else what --image_tokens of `tofu-jax tokenize` takes.
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
    config.batch.token_dropout = 0.0
    config.batch.accumulate = 1
    config.batch.memory_gib = 0.0
    config.batch.edge_partitions = 1

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip_norm = 1.0
    return config


def finetuning_config() -> ml_collections.ConfigDict:
    """Fields of fine-tuning on one graph, without those that the model and the command line determine."""
    config = default_config()
    config.steps = 500
    config.evaluate_every = 50
    config.checkpoint_every = 50
    config.patience = 4
    config.valid_triples = 250
    config.optimizer.learning_rate = 3e-4
    config.optimizer.warmup_steps = 20
    for name in ("graphs", "part", "held_out", "keep_unseen_entities", "zero_shot"):
        del config[name]
    del config.model, config.tokens, config.batch.examples
    return config
