"""Read the texts and images of a graph once, and write it as a data set that every run opens with its tokens.

    tofu-jax tokenize --graph=<folder or name> --output=<folder>
    tofu-jax tokenize --graph=<folder> --output=<folder> --checkpoint=runs/mix         for use with that model
    tofu-jax tokenize --graph=<folder> --output=<folder> --image_tokens=<file, folder or emu3>

Without --checkpoint and --image_tokens an image codebook of local patches is learned from the graph's own images. Several
data sets share one codebook if the first one's image_codebook.npz is given to the others as --image_tokens. Killed, the same
command goes on where it was. Images that cannot be read are masked, and listed in broken_images.txt of the output.

--image_tokens takes an .npz of ids and their codebook (`paths` or `entities`, `codes`, `codebook`), an image_codebook.npz, a
copy of MyGO's repository with tokens/<graph>-visual.json and tokens/visual.npy, "emu3" for the model BAAI/Emu3-VisionTokenizer
(1.08 GB from the Hugging Face hub, needs `pip install tofu_jax[images]`), or a folder with that model.
"""

from absl import flags

from tofu_jax import launching

GRAPH = flags.DEFINE_string("graph", None, "The name of a data set, or a folder or file.")
OUTPUT = flags.DEFINE_string("output", None, "Folder to write; what is unfinished lies in <output>.partial.")
PART = flags.DEFINE_enum("part", None, ["training", "inference"], "Of an inductive folder; default: inference.")
IMAGE_TOKENS = flags.DEFINE_string("image_tokens", None, "Image token ids or their tokenizer, see above.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a pre-training run whose tokenizers are to be used.")
IMAGE_CODES = flags.DEFINE_integer("image_codes", 1024, "Size of a codebook that is learned.", lower_bound=1)
NUM_TEXT_TOKENS = flags.DEFINE_integer("num_text_tokens", None, "Per entity; default: the checkpoint's, or 8.", lower_bound=1)
NUM_IMAGE_TOKENS = flags.DEFINE_integer("num_image_tokens", None, "Per entity; default: the checkpoint's, or 8.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of a codebook that is learned.")
KEEP_UNSEEN = flags.DEFINE_bool("keep_unseen_entities", False, "Accept held-out entities about which nothing is known.")
flags.mark_flags_as_required(["graph", "output"])


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.tokens.data_set import PatchFit, tokenize_data_set
    from tofu_jax.tokens.picture_pool import available_cores
    from tofu_jax.tokens.tokenizers import image_tokenizer_of, open_image_tokenizer

    console, workers = launching.console(), available_cores()
    graph = load_graph(GRAPH.value, PART.value, keep_unseen_entities=KEEP_UNSEEN.value)
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    num_text_tokens = num_image_tokens = 8
    image = open_image_tokenizer(IMAGE_TOKENS.value, [graph.name], workers) if IMAGE_TOKENS.value else None
    if CHECKPOINT.value:
        from tofu_jax.inference.pretrained import load_pretrained  # only now, since it takes seconds

        trained = load_pretrained(CHECKPOINT.value, image_tokens=image).tokenizers
        num_text_tokens, num_image_tokens = trained.num_text_tokens, trained.num_image_tokens
        image = image or image_tokenizer_of(trained.codebooks["image"], workers)
    elif image is None:
        image = PatchFit(IMAGE_CODES.value, SEED.value, workers)
    tokenize_data_set(
        graph,
        OUTPUT.value,
        image,
        console,
        NUM_TEXT_TOKENS.value or num_text_tokens,
        NUM_IMAGE_TOKENS.value or num_image_tokens,
        provenance={"graph": GRAPH.value, "part": PART.value},
    )
