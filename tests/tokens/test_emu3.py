"""The adapter to Emu3's vision tokenizer, with a tiny model of random weights; needs PyTorch."""

import hashlib
import re

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="an optional dependency (pip install tofu_jax[images])")

from safetensors.torch import save_file  # noqa: E402
from transformers import Emu3VQVAE, Emu3VQVAEConfig  # noqa: E402

from tofu_jax.errors import DataError  # noqa: E402
from tofu_jax.tokens import emu3  # noqa: E402
from tofu_jax.tokens.chunks import ChunkedWork  # noqa: E402
from tofu_jax.tokens.emu3 import Emu3Tokenizer  # noqa: E402

CONFIG = Emu3VQVAEConfig(codebook_size=50, base_channels=32, channel_multiplier=[1, 1, 1, 2], num_res_blocks=1, hidden_size=64)


@pytest.fixture(scope="module")
def original():
    """The whole model, as transformers has it; spread out codes, so that pictures differ in them."""
    torch.manual_seed(0)
    model = Emu3VQVAE(CONFIG).eval()
    torch.nn.init.normal_(model.quantize.embedding.weight, std=0.3)
    return model


@pytest.fixture(scope="module")
def weights(original):
    """Its weights under the names of BAAI's file."""
    return {as_published(name): published(name, value.clone()) for name, value in original.state_dict().items()}


@pytest.fixture(scope="module")
def tokenizer(weights):
    return Emu3Tokenizer.of_model(empty(), weights)


def empty():
    with torch.device("meta"):
        return Emu3VQVAE(CONFIG)


def as_published(name):
    for pattern, replacement in (
        (r"(down|up)_block\.", ""),
        (r"middle_block\.attn_norm\.", "mid.attn_1.norm."),
        (r"middle_block\.", "mid."),
        (r"attn_norms\.(\d)\.", r"attn.\1.norm."),
        (r"([qkv])_proj\.", r"\1."),
        (r"out_proj\.", "proj_out."),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def published(name, value):
    return value[:, :, None, None] if name.endswith("_proj.weight") else value


def pictures(count):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (6, 7, 3), np.uint8)).resize((224, 224)) for _ in range(count)]


def test_names_as_published(weights):
    assert {
        "encoder.conv_in.weight",
        "encoder.down.3.block.0.norm1.weight",
        "encoder.down.3.attn.0.norm.bias",
        "encoder.down.3.attn.0.proj_out.weight",
        "encoder.mid.attn_1.q.weight",
        "encoder.mid.attn_1.norm.weight",
        "encoder.mid.block_2.conv1.bias",
        "encoder.time_conv.1.conv.conv.weight",
        "encoder.time_res_stack.0.norm2.running_var",
        "quant_conv.conv.weight",
        "quantize.embedding.weight",
    } <= set(weights)


def test_codes_are_those_of_the_whole_model(original, tokenizer):
    images = pictures(3)
    codes = tokenizer.encode(images)
    assert (codes.shape, codes.dtype) == ((3, 196), np.int32)
    assert len(np.unique(codes)) > 5
    pixels = np.stack([np.asarray(image.resize((112, 112), Image.Resampling.BICUBIC), np.float32) for image in images])
    batch = torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = original.encode(batch, image_sizes=torch.tensor([[112, 112]] * 3)).image_tokens
    np.testing.assert_array_equal(codes, torch.stack(list(expected)).flatten(1))
    np.testing.assert_array_equal(codes[1:2], tokenizer.encode(images[1:2]))


def test_codebook(original, tokenizer):
    assert tokenizer.codebook.name == "emu3-vision-tokenizer-50x4"
    np.testing.assert_array_equal(tokenizer.codebook.vectors, original.quantize.embedding.weight.detach().numpy())


def test_files_are_read_in_batches_and_broken_ones_masked(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(emu3, "_IMAGES_PER_BATCH", 2)
    monkeypatch.setattr(emu3, "_IMAGES_PER_CHUNK", 3)
    for number, picture in enumerate(pictures(4)):
        picture.save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").write_bytes(b"broken")
    images = [("0.png", "1.png"), (), ("4.png",), ("2.png", "4.png"), ("3.png",)]
    work = ChunkedWork(folder=tmp_path / "work")
    ids, mask = tokenizer(images, tmp_path, list("abcde"), 8, work)
    assert mask.any(axis=1).tolist() == [True, False, False, True, True]
    assert list(work.broken_images) == [str(tmp_path / "4.png")]
    assert ids[3, 0] == np.bincount(tokenizer.encode(pictures(4)[2:3])[0]).argmax()
    assert {path.name for path in (tmp_path / "work").iterdir()} == {
        "settings.json", "images-000000.npz", "images-000001.npz",
    }  # fmt: skip


def test_weights_come_from_a_checked_file(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.Emu3VQVAEConfig", lambda: CONFIG)
    with pytest.raises(DataError, match=r"model\.safetensors: no such file"):
        Emu3Tokenizer.load(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    with pytest.raises(DataError, match="not the weights of BAAI/Emu3-VisionTokenizer"):
        Emu3Tokenizer.load(tmp_path)
    monkeypatch.setattr(emu3, "WEIGHTS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert Emu3Tokenizer.load(tmp_path).codebook.vectors.shape == (50, 4)
    save_file({"encoder.conv_in.weight": weights["encoder.conv_in.weight"].contiguous()}, path)
    monkeypatch.setattr(emu3, "WEIGHTS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(DataError, match="do not fit the model"):
        Emu3Tokenizer.load(tmp_path)
