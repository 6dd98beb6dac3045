"""Pre-training on the training graphs of fb237_v1 and WN18RR_v1 (GraIL), zero-shot on their inference graphs.

    python launch/pretrain.py --config=configs/grail_v1.py:<folder> --workdir=runs/grail_v1

<folder> holds grail/fb237_v1, grail/WN18RR_v1 and, for images, the token file images/visual_tokens_effnet_k1024.npz.
About 10 minutes on two cores; MRR on valid + test .53 (fb237_v1) and .74 (WN18RR_v1).
"""

import ml_collections

from tofu_jax.training.defaults import default_config


def get_config(folder: str) -> ml_collections.ConfigDict:
    """The experiment for data in `folder`."""
    config = default_config()
    config.graphs = (f"{folder}/grail/fb237_v1", f"{folder}/grail/WN18RR_v1")
    config.zero_shot = config.graphs
    config.tokens.images = f"{folder}/images/visual_tokens_effnet_k1024.npz"
    config.steps = 1500
    config.evaluate_every = 500
    config.checkpoint_every = 250
    return config
