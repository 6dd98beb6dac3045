"""Models from strangers: whatever the files hold, there is a usable model or a `CheckpointError`, and nothing is executed."""

import functools
import hashlib
import json
import os
import pickle

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from tofu_jax.errors import CheckpointError
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.inference.model_folder import CONFIG, WEIGHTS
from tofu_jax.inference.pretrained import load_pretrained

pytestmark = pytest.mark.usefixtures("quick_loading")
FUZZ = {"derandomize": True, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.mark.parametrize(
    ("name", "message"), [(WEIGHTS, r"no checkpoint here.*it holds README\.md, config\.json\."), (CONFIG, "no such file")]
)
def test_a_missing_file(copy, tmp_path, name, message):
    folder = copy(tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2, this version of tofu_jax reads 1"),
        ({"format_version": None}, "format version None"),
        ({"library_name": "diffusers"}, "not a model of tofu_jax"),
        ({"surprise": 1}, "unknown 'surprise'; the keys must be"),
        ({"auto_map": {"AutoModel": "evil.py"}}, "unknown 'auto_map'"),
        ({"step": True}, "step is True; it must be of type int"),
        ({"step": -1}, "must be in 0"),
        ({"name": "\x1b[2J"}, "name: a text of"),
        ({"name": "x" * 501}, "name: a text of"),
        ({"graphs": {}}, "must be of type list"),
        ({"graphs": [{"name": "a", "facts": 1}]}, "graphs.0.no sha256"),
        ({"codebooks": {"text": {"name": "a", "sha256": "b"}}}, "codebooks.no image"),
        ({"model": []}, "another version of the model"),
        ({"tokens": None}, "another version of the model"),
    ],
)
def test_settings_that_no_export_has(copy, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(copy(tmp_path / "model", **change))


def test_a_missing_key(copy, exported, tmp_path):
    told = json.loads((exported / CONFIG).read_text())
    for key in told:
        folder = copy(tmp_path / key)
        (folder / CONFIG).write_text(json.dumps({name: value for name, value in told.items() if name != key}))
        with pytest.raises(CheckpointError, match=f"no {key}|not a model of|format version None"):
            load_pretrained(folder)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("model", {"width": 8}, r"model \(.*8.*\), checkpoint \(.*4.*\)"),
        ("model", {"layers": 2}, "The checkpoint has other parameters"),
        ("model", {"operators": ["translation"]}, "The checkpoint has other parameters"),
        ("model", {"operators": ["shell"]}, "model.operators is"),
        ("model", {"operators": "translation"}, "model.operators is"),
        ("model", {"operators": [["x"]]}, "model.operators is"),
        ("model", {"dropout": 0.1}, "another version of the model"),
        ("model", {"layers": 10**9}, "model.layers is 1000000000; a whole number in 0..64"),
        ("model", {"width": 4.0}, "model.width is 4.0"),
        ("model", {"width": 5}, "even and a multiple of the heads"),
        ("model", {"fusion_heads": 0}, "even and a multiple of the heads"),
        ("tokens", {"text": "8"}, "tokens.text is '8'"),
        ("tokens", {"image": 10**12}, "tokens.image is"),
        ("tokens", {"hops": NUM_HOPS + 1}, f"{NUM_HOPS + 1} hops; this version has"),
        ("codebooks", {"text": {"name": "all-MiniLM-L6-v2", "sha256": "0" * 64}}, "trained with codebook all-MiniLM-L6-v2"),
        ("codebooks", {"image": {"name": "patches-v1-k20", "sha256": "0" * 64}}, "trained with codebook patches-v1-k20"),
    ],
)
def test_models_that_do_not_fit(copy, exported, tmp_path, part, change, message):
    told = json.loads((exported / CONFIG).read_text())
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(copy(tmp_path / "model", **{part: told[part] | change}))


def header(content, length=None):
    text = json.dumps(content).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"", "cannot be read as safetensors"),
        (b"\x00" * 7, "cannot be read as safetensors"),
        (header({}, 2**40), "its header is larger than"),
        (header({}, 2**64 - 1), "its header is larger than"),
        (header({}, 2**20), "cannot be read as safetensors"),
        (
            header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}) + b"\0" * 4,
            "cannot be read as safetensors",
        ),
        (header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}) + bytes(8), "cannot be read as safetensors"),
        (b"\x80\x04cos\nsystem\n", "its header is larger than"),
        (save({"a": np.zeros(2)}), "'a' is F64; all tensors must be F32"),
        (save({"a": np.zeros(2, np.float32)}), "no tensor image_codebook"),
        (save({"image_codebook": np.zeros(2, np.float32)}), r"vectors must be float32 \[K, c\]"),
        (save({"image_codebook": np.full((2, 3), np.nan, np.float32)}), "'image_codebook' holds NaN"),
    ],
)
def test_weights_that_no_export_has(copy, tmp_path, weights, message):
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(copy(tmp_path / "model", weights))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("params/params", r"\['params'\]\['params'\]: model has none, checkpoint \(2,\)"),
        ("params", "no path of a parameter beside the others"),
        ("x/" * 100_000 + "x", "no path of a parameter|header is larger"),
        ("", r"\[''\]: model has none"),
    ],
)
def test_more_parameters_than_the_model_has(copy, exported, tmp_path, extra, message):
    weights = save({**load_file(exported / WEIGHTS), extra: np.zeros(2, np.float32)})
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(copy(tmp_path / "model", weights))


def test_a_parameter_that_is_not_finite(copy, exported, tmp_path):
    tensors = load_file(exported / WEIGHTS)
    name = next(iter(tensors))
    weights = save({**tensors, name: np.full_like(tensors[name], np.inf)})
    with pytest.raises(CheckpointError, match=f"'{name}' holds NaN or infinity"):
        load_pretrained(copy(tmp_path / "model", weights))


@pytest.mark.parametrize("how", ["cut", "longer", "one bit"])
def test_weights_that_were_damaged(copy, exported, tmp_path, how):
    whole = (exported / WEIGHTS).read_bytes()
    damaged = {"cut": whole[:-1], "longer": whole + b"\0", "one bit": whole[:-1] + bytes([whole[-1] ^ 1])}[how]
    with pytest.raises(CheckpointError, match=r"not the file that config\.json was written for"):
        load_pretrained(copy(tmp_path / "model", damaged, agreed=False))


class Bomb:
    """Pickled, it makes a folder as soon as somebody unpickles it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_under_another_name_is_refused_and_not_executed(copy, tmp_path, protocol):
    traps = tmp_path / "traps"
    bomb = pickle.dumps(Bomb(traps), protocol)
    for number, weights in enumerate((bomb, header({}) + bomb)):
        folder = copy(tmp_path / str(number), weights)
        with pytest.raises(CheckpointError):
            load_pretrained(folder)
    folder = copy(tmp_path / "config")
    (folder / CONFIG).write_bytes(bomb)
    with pytest.raises(CheckpointError):
        load_pretrained(folder)
    assert not traps.exists()
    pickle.loads(bomb)  # noqa: S301 (the trap is a trap)
    assert traps.exists()


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_links_out_of_the_folder_are_not_followed(copy, exported, tmp_path, name):
    folder = copy(tmp_path / "model")
    (folder / name).unlink()
    (folder / name).symlink_to(exported / name)
    with pytest.raises(CheckpointError, match="a link that leads out of the folder"):
        load_pretrained(folder)
    linked = tmp_path / "linked"
    linked.symlink_to(exported)
    assert load_pretrained(linked).step == 12


def test_what_is_no_file_is_not_opened(copy, tmp_path):
    folder = copy(tmp_path / "model")
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)
    with pytest.raises(CheckpointError, match="no such file"):
        load_pretrained(folder)


def test_a_file_larger_than_any_model_is_not_read(copy, tmp_path):
    folder = copy(tmp_path / "model")
    os.truncate(folder / CONFIG, 2**40)  # takes no room
    with pytest.raises(CheckpointError, match="more than 4,194,304 bytes"):
        load_pretrained(folder)


# Fuzzing: whatever the bytes are, there is a model with the same parameters, or a CheckpointError.

HOW = ("set", "insert", "delete", "cut", "repeat")
mutations = st.lists(
    st.tuples(
        st.integers(0, 2**32), st.sampled_from(["set", "insert", "delete", "cut", "repeat"]), st.binary(min_size=1, max_size=8)
    ),
    min_size=1,
    max_size=4,
)


def mutated(content, changes):
    content = bytearray(content)
    for place, how, new in changes:
        # Most of what is fragile stands in the first part of a file.
        place = place % (len(content) + 1) if place % 2 else place % (min(len(content), 3000) + 1)
        if how == "set":
            content[place : place + len(new)] = new
        elif how == "insert":
            content[place:place] = new
        elif how == "delete":
            del content[place : place + len(new)]
        elif how == "cut":
            del content[place:]
        else:
            content[place:place] = content[place : place + 64]
    return bytes(content)


@settings(max_examples=500, **FUZZ)
@given(st.sampled_from([WEIGHTS, CONFIG]), mutations, st.booleans())
def test_mutated_bytes(bits, exported, tmp_path, small_model, name, changes, agreed):
    """`agreed`: the SHA-256 in config.json is made to fit, as whoever means harm would do."""
    contents = {file: (exported / file).read_bytes() for file in (WEIGHTS, CONFIG)}
    before, contents[name] = contents[name], mutated(contents[name], changes)
    if name == WEIGHTS and agreed:
        hashes = [hashlib.sha256(content).hexdigest().encode() for content in (before, contents[name])]
        contents[CONFIG] = contents[CONFIG].replace(*hashes)
    for file, content in contents.items():
        (tmp_path / file).write_bytes(content)
    try:
        loaded = load_pretrained(tmp_path)
    except CheckpointError as error:
        assert str(error)
    else:
        shapes = [jax.tree.map(np.shape, model.params) for model in (loaded, small_model)]
        assert shapes[0] == shapes[1]
        assert (name == WEIGHTS and agreed) or bits(loaded.params) == bits(small_model.params)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Paths of all values in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@settings(max_examples=200, **FUZZ)
@given(st.data())
def test_other_values_in_the_settings(bits, exported, tmp_path, small_model, data):
    told = json.loads((exported / CONFIG).read_text())
    *parents, key = data.draw(st.sampled_from([path for path in places(told) if path]))
    node = functools.reduce(lambda inner, step: inner[step], parents, told)
    if data.draw(st.integers(0, 9)) == 0:
        del node[key]
    else:
        node[key] = data.draw(json_values)
    (tmp_path / WEIGHTS).write_bytes((exported / WEIGHTS).read_bytes())
    (tmp_path / CONFIG).write_text(json.dumps(told))
    try:
        loaded = load_pretrained(tmp_path)
    except CheckpointError as error:
        assert str(error)
    else:
        assert bits(loaded.params) == bits(small_model.params)
