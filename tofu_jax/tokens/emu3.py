"""Pictures to codes of Emu3's vision tokenizer, a larger model that needs PyTorch (pip install "tofu_jax[images]").

The model is BAAI's (Apache-2.0, 1.08 GB). Only its weights are read, from one safetensors file whose SHA-256 is checked; the
network is that of transformers, so nothing that is downloaded is executed.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.shapes import Array
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.image import tokenize_pictures
from tofu_jax.tokens.pictures import read_picture

NAME = "emu3-vision-tokenizer"
WEIGHTS_SHA256 = "89536431c69b08b10b449ec309f52dcea22f14b7647317f30f5715273392bbf1"

_HUB_REPOSITORY = "BAAI/Emu3-VisionTokenizer"
_HUB_REVISION = "c81f916ad371289e205310a7539255e8a9396488"
_WEIGHTS = "model.safetensors"
_SIDE = 112  # pixels; the model makes one code of 8x8, so 14x14 = 196 codes an image
_IMAGES_PER_BATCH = 8
_IMAGES_PER_CHUNK = 64
# Names in BAAI's file → in transformers, which has given the parts of the encoder names of their own.
_RENAMED = (
    (r"^encoder\.down\.", "encoder.down_block.down."),
    (r"^encoder\.mid\.attn_1\.norm\.", "encoder.middle_block.attn_norm."),
    (r"^encoder\.mid\.", "encoder.middle_block."),
    (r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1."),
    (r"\.([qkv])\.(weight|bias)$", r".\1_proj.\2"),
    (r"\.proj_out\.", ".out_proj."),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Emu3Tokenizer:
    """196 ids an image of 112x112 pixels, each the code of 8x8 of them in their surroundings.

    Attributes:
      codebook: float32 [32768, 4], the model's own.
      model: `transformers.Emu3VQVAE` without its decoder, on the device where it is to run.
    """

    codebook: Codebook
    model: Any

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> "Emu3Tokenizer":
        """Finds the weights in a folder, else in the cache of the Hugging Face hub, else downloads them there.

        Args:
          folder: with model.safetensors of BAAI/Emu3-VisionTokenizer.

        Raises:
          DataError: PyTorch is not installed, or the file is missing, damaged or another one.
        """
        try:
            import torch
            from transformers import Emu3VQVAE, Emu3VQVAEConfig
        except ImportError as error:
            raise DataError(f"{NAME} needs PyTorch ({error}): pip install 'tofu_jax[images]'.") from error
        path = pathlib.Path(folder) / _WEIGHTS if folder is not None else _downloaded_weights()
        _check_sha256(path)
        with torch.device("meta"):
            model = Emu3VQVAE(Emu3VQVAEConfig())
        return cls.of_model(model, _read_weights(path))

    @classmethod
    def of_model(cls, model: Any, weights: Mapping[str, Any]) -> "Emu3Tokenizer":
        """Puts weights into a model.

        Args:
          model: a `transformers.Emu3VQVAE`, which is changed: it loses its decoder.
          weights: tensors by their names in BAAI's file; those of the decoder may be missing.

        Raises:
          DataError: weights are missing, or have other shapes than the model.
        """
        import torch

        del model.decoder, model.post_quant_conv
        encoding = {_renamed(name): value for name, value in weights.items() if not re.match("decoder|post_quant_conv", name)}
        # A convolution over single pixels is a matrix.
        encoding = {name: value.flatten(1) if name.endswith("_proj.weight") else value for name, value in encoding.items()}
        try:
            model.load_state_dict(encoding, strict=True, assign=True)
        except RuntimeError as error:
            raise DataError(f"Weights of {NAME} do not fit the model ({error}). Copy the file again.") from error
        # The model sees a picture as a film of equal frames; one of them goes through the expensive part.
        frames = model.config.temporal_downsample_factor
        model.encoder.conv_in.register_forward_pre_hook(lambda _, inputs: (inputs[0][::frames],))
        model.encoder.conv_out.register_forward_hook(lambda _, __, output: output.repeat_interleave(frames, dim=0))
        model.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")
        vectors = model.quantize.embedding.weight.float().cpu().numpy().copy()
        return cls(Codebook(f"{NAME}-{len(vectors)}x{vectors.shape[1]}", vectors), model)

    def __call__(
        self,
        images: Sequence[Sequence[str]],
        image_root: pathlib.Path | None,
        entities: Sequence[str],
        num_tokens: int,
        work: ChunkedWork | None = None,
    ) -> tuple[Array, Array]:
        """See `ImageTokenizer`."""
        return tokenize_pictures(self._encode_files, _IMAGES_PER_CHUNK, images, image_root, num_tokens, work)

    def encode(self, pictures: Sequence[Image.Image]) -> Array:
        """Codes of n pictures of any size, row by row from the top left.

        Returns:
          int32 [n, 196].
        """
        import torch

        # With the hub's settings: bicubic, values -1..1.
        small = [picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC) for picture in pictures]
        pixels = np.stack([np.asarray(picture, np.float32) for picture in small]) / 127.5 - 1
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.model.device)
        with torch.inference_mode():
            codes = self.model.encode(batch, image_sizes=[(_SIDE, _SIDE)] * len(pictures)).image_tokens
        return torch.stack(codes).flatten(1).cpu().numpy().astype(np.int32)

    def _encode_files(self, paths: Sequence[pathlib.Path]) -> Iterator[Array | str]:
        for start in range(0, len(paths), _IMAGES_PER_BATCH):
            read: list[Image.Image | str] = []
            for path in paths[start : start + _IMAGES_PER_BATCH]:
                try:
                    read.append(read_picture(path))
                except DataError as error:
                    read.append(str(error))
            pictures = [picture for picture in read if not isinstance(picture, str)]
            codes = iter(self.encode(pictures) if pictures else ())
            yield from (picture if isinstance(picture, str) else next(codes) for picture in read)


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _read_weights(path: pathlib.Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Copy the file again.") from error


def _check_sha256(path: pathlib.Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a folder with {_WEIGHTS} of {_HUB_REPOSITORY}.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise DataError(
            f"{path}: not the weights of {_HUB_REPOSITORY} (sha256 {found[:12]}…, expected {WEIGHTS_SHA256[:12]}…). Copy the "
            f"file of revision {_HUB_REVISION[:12]}."
        )


def _downloaded_weights() -> pathlib.Path:
    from huggingface_hub import hf_hub_download

    try:
        return pathlib.Path(hf_hub_download(_HUB_REPOSITORY, _WEIGHTS, revision=_HUB_REVISION))
    # The hub client raises errors of its own, of its HTTP library and OSError; all mean "not reachable" here.
    except Exception as error:
        raise DataError(
            f"{_HUB_REPOSITORY} cannot be reached on the hub ({type(error).__name__}). Give a folder with its {_WEIGHTS}."
        ) from error
