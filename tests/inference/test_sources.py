"""Where models come from: the package, folders under any spelling of their path, the hub; and what is no model."""

import os
import pathlib

import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from tofu_jax.errors import CheckpointError
from tofu_jax.inference import sources
from tofu_jax.inference.model_folder import CONFIG, FILES
from tofu_jax.inference.pretrained import load_pretrained

SNAPSHOT_DOWNLOAD = huggingface_hub.snapshot_download
COMMIT = "0123456789abcdef0123456789abcdef01234567"
pytestmark = pytest.mark.usefixtures("quick_loading")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Nothing here may ask the real hub."""

    def fetch(*arguments, **options):
        raise AssertionError(f"asked the hub for {arguments} {options}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)


@pytest.fixture
def hub(monkeypatch, exported, tmp_path):
    """A hub with one model, laid out as its cache is; returns what it was asked for."""
    asked = []
    repository = tmp_path / "cache" / "models--someone--small"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name in FILES:
        (repository / "blobs" / f"blob of {name}").write_bytes((exported / name).read_bytes())
        (snapshot / name).symlink_to(pathlib.Path("..", "..", "blobs", f"blob of {name}"))

    def fetch(repo_id, *, revision, allow_patterns):
        asked.append((repo_id, revision, sorted(allow_patterns)))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.chdir(tmp_path)
    return asked


def test_any_spelling_of_a_folder(exported, monkeypatch, tmp_path):
    monkeypatch.chdir(exported.parent)
    for source in ("small", "./small", pathlib.Path("small"), f"../{exported.parent.name}/small", str(exported), exported):
        loaded = load_pretrained(source)
        assert loaded.source == f"{pathlib.Path(source)} step 12"
    # A folder is never looked up on the hub, though it is spelled like a model there.
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").symlink_to(exported)
    monkeypatch.chdir(tmp_path)
    assert load_pretrained("owner/name").step == 12


def test_the_model_of_the_package(exported, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "SHIPPED", exported)
    assert load_pretrained().source == load_pretrained(step="best").source == "tofu_jax's own model step 12"
    with pytest.raises(CheckpointError, match="step 3 asked for, but an exported model has one step only"):
        load_pretrained(step=3)
    monkeypatch.setattr(sources, "SHIPPED", tmp_path / "absent")
    with pytest.raises(CheckpointError, match=r"ships no model of its own\. Name one with --checkpoint"):
        load_pretrained()


def test_a_model_on_the_hub(hub):
    names = sorted(FILES)
    assert load_pretrained("someone/small").source == "someone/small@0123456789ab step 12"
    assert load_pretrained("someone/small@v1.0").step == 12
    assert load_pretrained(f"someone/small@{COMMIT}").step == 12
    assert load_pretrained("someone/small@refs/pr/1").step == 12
    assert hub == [("someone/small", revision, names) for revision in (None, "v1.0", COMMIT, "refs/pr/1")]
    with pytest.raises(CheckpointError, match="an exported model has one step only"):
        load_pretrained("someone/small", step=12)


def test_the_real_client_without_a_network(hub, monkeypatch, tmp_path):
    """What was fetched before is found in the client's cache, in the layout that it has there."""
    monkeypatch.setattr(huggingface_hub, "snapshot_download", SNAPSHOT_DOWNLOAD)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert load_pretrained(f"someone/small@{COMMIT}").source == "someone/small@0123456789ab step 12"
    with pytest.raises(CheckpointError, match="neither a folder here nor to be had from the Hugging Face hub"):
        load_pretrained("someone/small@v1")


def test_links_of_the_hub_stay_in_its_cache_of_the_model(hub, exported, tmp_path):
    link = tmp_path / "cache" / "models--someone--small" / "snapshots" / COMMIT / CONFIG
    link.unlink()
    link.symlink_to(exported / CONFIG)
    with pytest.raises(CheckpointError, match="a link that leads out of the folder"):
        load_pretrained("someone/small")


def test_a_model_that_the_hub_does_not_have(monkeypatch, tmp_path):
    def absent(repo_id, **options):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    def unreachable(repo_id, **options):
        raise OSError("no route to host\nand so on")

    monkeypatch.chdir(tmp_path)
    for fetch, message in (
        (absent, "RepositoryNotFoundError"),
        (unreachable, r"\(OSError: no route to host\)\. Check the name"),
    ):
        monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
        with pytest.raises(CheckpointError, match=f"neither a folder here nor to be had from the Hugging Face hub.*{message}"):
            load_pretrained("someone/absent")


@pytest.mark.parametrize(
    "source",
    [
        "../other/name",
        "../name",
        "owner/..",
        "owner/na..me",
        "owner/name@../main",
        "owner/name@a..b",
        "owner/name/deeper",
        "owner/name@",
        "owner//name",
        "/owner/name",
        "owner/.name",
        "owner/na me",
        "owner/name\n",
        "owner\\name",
        "https://hub/owner/name",
        "öwner/name",
        f"owner/{'x' * 97}",
        "name",
        "",
    ],
)
def test_what_is_neither_a_folder_nor_a_name_on_the_hub(source, monkeypatch, tmp_path):
    """`no_hub` fails where the hub is asked."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_pretrained(source)


def test_a_slip_in_a_path_is_not_sent_to_the_hub(monkeypatch, tmp_path):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    for source in ("runs/mixx", pathlib.Path("elsewhere/mix")):
        with pytest.raises(CheckpointError, match="no checkpoint here, there is no such folder"):
            load_pretrained(source)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint here\. Give .*; it holds nothing\."):
        load_pretrained(tmp_path)
    for number in range(12):
        (tmp_path / f"{number:02}.bin").touch()
    with pytest.raises(CheckpointError, match=r"it holds 00\.bin, .*, 07\.bin and 4 more\."):
        load_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="it is a file"):
        load_pretrained(tmp_path / "00.bin")
    assert len(os.listdir(tmp_path)) == 12
