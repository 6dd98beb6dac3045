"""Checkpoints: read back bit by bit, and refused with a readable reason when they do not fit or are damaged."""

import contextlib
import dataclasses
import gc
import json
import runpy
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from full_disk import most_bytes_per_file
from making import CODEBOOKS

from tofu_jax.errors import CheckpointError
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.training.checkpoint import (
    CheckpointStore,
    check_tree,
    parse_step,
    read_checkpoint,
    saved_steps,
    set_aside_damaged_steps,
    tree_hash,
)
from tofu_jax.training.loop import pretrain
from tofu_jax.training.step import TrainState

# Where reading fails, Orbax leaves an event loop and coroutines behind; whichever test runs when they are collected gets the
# warning. So it is silenced in this module, and nothing is left for the next.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

META = {"codebooks": {k: {"name": v.name, "sha256": v.sha256} for k, v in CODEBOOKS.items()}, "note": "é"}


@pytest.fixture(autouse=True)
def leave_nothing_behind():
    yield
    gc.collect()


def state(width=3):
    """A state with what is hard to keep: subnormals, negative zero, scalars, counters."""
    kernel = np.random.default_rng(0).standard_normal((width, 2)).astype(np.float32)
    kernel[0] = [np.float32(1e-42), np.float32(-0.0)]
    params = {"params": {"dense": {"kernel": kernel, "bias": np.zeros(2, np.float32)}, "gate": np.float32(0.1)}}
    return jax.tree.map(jnp.asarray, TrainState(params, (np.int32(7), {"mu": kernel * 2})))


def save(folder, *steps, keep_last=2, ratings=()):
    """Saves steps; those in `ratings` are rated as soon as they are saved."""
    store = CheckpointStore(folder, keep_last)
    for step in steps:
        store.save(step, state(), CODEBOOKS["image"], META)
        if step in dict(ratings):
            store.rate(step, dict(ratings)[step])
    store.close()


def check_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (np.asarray(one).dtype, np.shape(one)) == (np.asarray(other).dtype, np.shape(other))
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, config_file):
    """The folder of a short run. Copy it to damage it."""
    config = runpy.run_path(str(config_file))["get_config"]()
    workdir = tmp_path_factory.mktemp("trained")
    pretrain(config, workdir, rich.console.Console(quiet=True))
    return workdir


def test_round_trip(tmp_path):
    save(tmp_path, 5)
    store = CheckpointStore(tmp_path)
    check_bits(store.restore_state(5, state()), state())
    store.close()
    restored = read_checkpoint(tmp_path)
    check_bits(restored.params, state().params)
    assert (restored.step, restored.meta) == (5, META)
    assert restored.image_codebook.sha256 == CODEBOOKS["image"].sha256


def test_the_latest_steps_stay(tmp_path):
    save(tmp_path, 1, 2, 3)
    assert saved_steps(tmp_path) == [2, 3]
    store = CheckpointStore(tmp_path)
    assert store.latest_step() == 3
    store.save(3, state(), CODEBOOKS["image"], META)  # there already
    store.close()
    assert read_checkpoint(tmp_path).step == 3
    assert read_checkpoint(tmp_path, 2).step == 2
    with pytest.raises(CheckpointError, match="no step 1; there are 2, 3"):
        read_checkpoint(tmp_path, 1)


def test_the_best_step_stays_too(tmp_path):
    ratings = {2: 0.5, 4: 0.2, 6: 0.5}  # of equals the first
    save(tmp_path, *range(1, 7), ratings=ratings)
    assert saved_steps(tmp_path) == [2, 5, 6]
    assert (read_checkpoint(tmp_path, "best").step, read_checkpoint(tmp_path).step) == (2, 6)
    save(tmp_path, 7, 8, ratings={7: 0.6})  # in another process: what was rated before is known
    assert saved_steps(tmp_path) == [7, 8]
    assert read_checkpoint(tmp_path, "best").step == 7
    save(tmp_path, 9, keep_last=1)
    assert saved_steps(tmp_path) == [7, 9]


def test_no_best_step_without_an_evaluation(tmp_path):
    save(tmp_path, 1, 2)
    with pytest.raises(CheckpointError, match="none of the steps 1, 2 has been evaluated"):
        read_checkpoint(tmp_path, "best")
    (tmp_path / "valid_mrr.json").write_text('{"1": 0.')
    for reading in (lambda: read_checkpoint(tmp_path, "best"), lambda: CheckpointStore(tmp_path)):
        with pytest.raises(CheckpointError, match=r"valid_mrr.json: cannot be read .*Delete it"):
            reading()
    assert read_checkpoint(tmp_path).step == 2


def test_a_rating_counts_only_if_its_step_was_saved(tmp_path):
    """Killed after the evaluation, but before the save in the background had come to its end."""
    save(tmp_path, 1, 2, ratings={1: 0.3, 2: 0.9})
    shutil.rmtree(tmp_path / "2")
    assert read_checkpoint(tmp_path, "best").step == 1
    store = CheckpointStore(tmp_path)
    assert (store.best_step(), store.is_rated(1), store.is_rated(2)) == (1, True, False)
    store.close()


def test_steps_on_the_command_line():
    assert [parse_step(text) for text in ("best", "latest", "0", "12")] == ["best", None, 0, 12]
    for text in ("", "-1", "1.5", "Best"):
        with pytest.raises(CheckpointError, match="give a number, 'best' or 'latest'"):
            parse_step(text)


def test_unfinished_steps_are_not_seen(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp-9")
    assert read_checkpoint(tmp_path).step == 1
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]


def test_empty_and_missing_folders(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="no checkpoint here"):
            read_checkpoint(folder)
        with pytest.raises(CheckpointError, match="no checkpoint here"):
            load_pretrained(folder)
    assert list(tmp_path.iterdir()) == []


def test_check_tree_lists_what_differs():
    expected = {"a": np.zeros((2, 3)), "b": np.zeros(2), "gone": np.zeros(())}
    check_tree(expected, {name: value + 1 for name, value in expected.items()})
    with pytest.raises(CheckpointError) as error:
        check_tree(expected, {"a": np.zeros((2, 4)), "b": np.zeros(2), "new": np.zeros(5)})
    assert str(error.value).splitlines()[1:-1] == [
        "  ['a']: model (2, 3), checkpoint (2, 4)",
        "  ['gone']: model (), checkpoint has none",
        "  ['new']: model has none, checkpoint (5,)",
    ]


def test_a_long_list_of_differences_is_cut():
    with pytest.raises(CheckpointError, match="and 15 more"):
        check_tree({f"{i:02}": np.zeros(1) for i in range(25)}, {})


def test_another_width_is_refused(tmp_path):
    """C6, as training meets it."""
    save(tmp_path, 1)
    store = CheckpointStore(tmp_path)
    with pytest.raises(CheckpointError, match=r"\['kernel'\]: model \(4, 2\), checkpoint \(3, 2\)"):
        store.restore_state(1, state(width=4))
    store.close()


def damaged(path):
    """What a full disk or a broken copy makes of a file: {what: do it}."""
    return {
        "deleted": path.unlink,
        "emptied": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "flipped": lambda: flip(path, path.stat().st_size // 2),
    }


def flip(path, position):
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    if data:
        data[position] ^= 16
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["deleted", "emptied", "cut", "flipped"])
def test_damage_to_any_file_is_an_error_or_does_not_matter(tmp_path, how):
    """C4: whatever file is damaged, what is read is right, or there is a CheckpointError."""
    whole = tmp_path / "whole"
    save(whole, 1)
    refused = []
    files = sorted(path.relative_to(whole) for path in (whole / "1").rglob("*") if path.is_file())
    for number, name in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        damaged(folder / name)[how]()
        store = CheckpointStore(folder)
        try:
            check_bits(read_checkpoint(folder).params, state().params)
            check_bits(store.restore_state(1, state()), state())
        except CheckpointError as error:
            assert str(folder) in str(error)
            refused.append(name)
        store.close()
    refused_items = {name.parts[1] for name in refused}
    assert {"params", "optimizer", "image_codebook", "meta"} <= refused_items


@pytest.mark.parametrize("item", ["params", "optimizer"])
def test_a_single_bit_of_the_arrays_is_noticed(tmp_path, item):
    """Orbax itself reads it without a word: the arrays carry no checksum."""
    save(tmp_path, 1)
    largest = max((tmp_path / "1" / item).rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
    refused = 0
    for position in range(0, largest.stat().st_size, 16):
        flip(largest, position)
        store = CheckpointStore(tmp_path)
        try:
            check_bits(store.restore_state(1, state()), state())
        except CheckpointError:
            refused += 1
        store.close()
        flip(largest, position)
    assert refused


def test_damaged_steps_are_set_aside(tmp_path):
    """Only when asked; then the one before is the latest, and the damaged one is still there to be looked at."""
    save(tmp_path, 1, 2, 3, keep_last=3, ratings={1: 0.1, 2: 0.2, 3: 0.3})
    for path in (tmp_path / "3" / "optimizer").rglob("*"):
        if path.is_file() and path.stat().st_size > 100:
            damaged(path)["cut"]()
    shutil.rmtree(tmp_path / "1" / "meta")
    messages = set_aside_damaged_steps(tmp_path)
    assert [message.split(": damaged")[0] for message in messages] == [f"{tmp_path}/1", f"{tmp_path}/3"]
    assert messages[1].endswith("It is 3.damaged now.")
    assert set_aside_damaged_steps(tmp_path) == set_aside_damaged_steps(tmp_path / "nowhere") == []
    assert read_checkpoint(tmp_path, "best").step == read_checkpoint(tmp_path).step == 2
    save(tmp_path, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"1.damaged", "2", "3", "3.damaged", "valid_mrr.json"}


@pytest.mark.parametrize("told_by", ["check_saves", "save", "close"])
def test_a_full_disk_is_said_and_leaves_the_steps_before(tmp_path, told_by):
    """C3: the save fails in the background; whatever is called next tells."""
    save(tmp_path, 1)
    store = CheckpointStore(tmp_path)
    # The files of parameters do not fit, the smaller ones do.
    with most_bytes_per_file(200), pytest.raises(CheckpointError, match=r"saved .*Complete steps: 1\. Look for a full disk"):
        store.save(2, state(), CODEBOOKS["image"], META)
        while told_by == "check_saves":
            store.check_saves()
        if told_by == "save":
            store.save(3, state(), CODEBOOKS["image"], META)
        store.close()
    with contextlib.suppress(CheckpointError):
        store.close()
    assert saved_steps(tmp_path) == [1]
    check_bits(read_checkpoint(tmp_path).params, state().params)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/checkpoints: cannot be opened .*missing permissions"):
        CheckpointStore(tmp_path / "file" / "checkpoints")


# Prints the SHA-256 of each device's copy of the state that is restored, and saves it again as the next step.
ON_SEVERAL_DEVICES = """
import importlib.util, pathlib, sys
import jax
spec = importlib.util.spec_from_file_location("checkpoint_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from tofu_jax.training.step import replicate, unreplicate
store = module.CheckpointStore(pathlib.Path(sys.argv[2]))
latest = store.latest_step()
state = replicate(store.restore_state(latest, jax.tree.map(jax.numpy.zeros_like, module.state())))
for device in range(jax.device_count()):
    copies = jax.tree.map(lambda leaf: leaf.addressable_shards[device].data[0], state)
    print(len({shard.device for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards}), module.tree_hash(copies))
store.save(latest + 1, unreplicate(state), module.CODEBOOKS["image"], module.META)
store.close()
"""


def test_restored_on_other_devices(tmp_path, in_new_process):
    """C5: from one device to four, and from four to one."""
    save(tmp_path, 1)
    done = in_new_process(
        ON_SEVERAL_DEVICES, __file__, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=4", TF_CPP_MIN_LOG_LEVEL="2"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"4 {tree_hash(state())}"] * 4
    store = CheckpointStore(tmp_path)
    check_bits(store.restore_state(2, state()), state())
    store.close()


def test_a_step_without_its_contents_is_refused(tmp_path):
    (tmp_path / "4").mkdir()
    with pytest.raises(CheckpointError, match="4: damaged or not written by this program"):
        read_checkpoint(tmp_path)


def change_meta(trained, folder, change):
    """A copy of the run whose meta data are changed in place by `change`."""
    shutil.copytree(trained, folder)
    path = folder / "checkpoints" / "12" / "meta" / "metadata"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
    return folder


def test_loads(trained):
    pretrained = load_pretrained(trained)
    assert pretrained.source == f"{trained} step 12"
    assert pretrained.meta["tokens"]["hops"] == NUM_HOPS
    assert pretrained.num_examples == 2


def test_a_run_tells_all_that_an_export_needs(trained, tmp_path):
    pretrained = load_pretrained(trained)
    pretrained.save_pretrained(tmp_path / "model")
    exported = load_pretrained(tmp_path / "model")
    check_bits(exported.params, pretrained.params)
    assert (exported.step, exported.meta) == (12, pretrained.meta)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta["codebooks"]["text"].update(sha256="0" * 64), r"trained with codebook .* \(sha256 000000000000"),
        (lambda meta: meta["codebooks"]["image"].update(sha256="0" * 64), "image codebook is not the one that was saved"),
        (lambda meta: meta["model"].update(width=8), r"model \(.*8.*\), checkpoint \(.*4.*\)"),
        (lambda meta: meta["model"].update(layers=2), "The checkpoint has other parameters"),
        (lambda meta: meta["model"].update(operators=["translation", "product"]), "The checkpoint has other parameters"),
        (lambda meta: meta["model"].pop("layers"), "another version of the model"),
        (lambda meta: meta["model"].update(dropout=0.1), "another version of the model"),
        (lambda meta: meta["tokens"].update(hops=NUM_HOPS + 1), f"{NUM_HOPS + 1} hops; this version has"),
        (lambda meta: meta.pop("codebooks"), "damaged or not written by this program"),
        (lambda meta: meta.pop("model"), "another version of the model"),
        (lambda meta: meta.pop("tokens"), "another version of the model"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(trained, tmp_path, change, message):
    """C6, as inference meets it."""
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(change_meta(trained, tmp_path / "run", change))


def test_another_text_codebook_is_refused(trained, monkeypatch):
    """The installed codebook has changed since the checkpoint was made."""
    tokenizer = TextTokenizer.load()
    changed = dataclasses.replace(tokenizer, codebook=CODEBOOKS["text"])
    monkeypatch.setattr(TextTokenizer, "load", classmethod(lambda cls: changed))
    with pytest.raises(CheckpointError, match=r"trained with codebook all-MiniLM-L6-v2 .* found random text"):
        load_pretrained(trained)
