"""The graphs that have been published as data sets: where their files are, under which terms, and what is wrong with them.

Files lie at one fixed commit, so that they never change. Of data that were at hand when this was written, `hashes` holds
SHA-256 of the files, of the facts, or both; the counts below were measured on them (`benchmarks/datasets.py` does it again).
Where the figure is from others, it says so.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from tofu_jax.graphs.datasets.entry import Dataset, PublishedFile
from tofu_jax.graphs.datasets.hashes import FACTS, FILES
from tofu_jax.graphs.datasets.repairs import without_leaks

_SPLITS = ("train.txt", "valid.txt", "test.txt")
_INFERENCE = ("inference_graph.txt", "inference_valid.txt", "inference_test.txt")
_OPENKE = ("entity2id.txt", "relation2id.txt", "train2id.txt", "valid2id.txt", "test2id.txt")

_MYGO = "zjukg/MyGO/50276d8d2bdb43496ca8685c748c59b64934efd4"
_MYGO_Y = "zjukg/MyGO/6b5fc4d5d36f3d19544ffdd24fd045bd4f384096"
_MYGO_Y_NAMES = "zjukg/MyGO/e2de998cd25c3bbe435a9c51ae0379c73fe139b5"
_MOMOK = "zjukg/MoMoK/376c5c295b3ace5bd95c8ed2a92e560545339096"
_NATIVE = "zjukg/NATIVE/c5c864ec4749cbe70f654faa93361822c64bb353"
_MMKB = "mniepert/mmkb/71aed5e83577e11b165d0b0a049cb6c236a99dc9"
_ROTATE = "DeepGraphLearning/KnowledgeGraphEmbedding/617062aaedf53bf4d6b44450a580a96dc30e0632"
_CODEX = "tsafavi/codex/e805ea2f512d7f0f8e44f213bc4db51dac0de118"
_KBGAT = "deepakn97/relationPrediction/8d4f27293eafbe491ef5455aaec2c4b968cc99cf"
_RSME = "wangmengsd/RSME/e42014755ae0e951b205bd638689df8e76f62718"
_GRAIL = "kkteru/grail/2a3dffa719518e7e6250e355a2fb37cd932de91e"
_INGRAM = "bdi-lab/InGram/1082e0871b0b449e1a915a7ff33bf0fffbb3eb68"
_ILPC = "pykeen/ilpc2022/35a5d5e1f785ada7a964597bea221eb81a595622"

_NO_PICTURES = "Of texts and pictures, the sources give features only; put your own beside the splits."


def _files(dataset: str, commit: str, folder: str, names: Iterable[str] | Mapping[str, str]) -> tuple[PublishedFile, ...]:
    """Files of a GitHub repository.

    Args:
      dataset: that they belong to.
      commit: owner/repository/commit.
      folder: in the repository.
      names: of the files there; a mapping gives the names that they get here.
    """
    renamed = names if isinstance(names, Mapping) else {name: name for name in names}
    root = f"https://raw.githubusercontent.com/{commit}/{folder}"
    return tuple(PublishedFile(f"{root}/{name}", here, FILES.get(f"{dataset}/{here}")) for name, here in renamed.items())


def _mygo(name: str, commit: str, names_commit: str, names_folder: str) -> tuple[PublishedFile, ...]:
    numbered = _files(name, commit, f"data/{name}", (*_SPLITS, "entities.txt", "relations.txt"))
    entities = _files(name, names_commit, f"{names_folder}/{name}", ["entity2id.txt"])
    return (*numbered, *entities, *_files(name, _MOMOK, f"datasets/{name}", ["relation2id.txt"]))


_MULTIMODAL = (
    Dataset(
        "DB15K",
        files=_mygo("DB15K", _MYGO, _MOMOK, "datasets"),
        layout="MyGO",
        protocol="transductive",
        licence="not stated (MMKG, which it is made from: BSD-3-Clause; DBpedia: CC BY-SA)",
        citation="Liu et al. 2019 (MMKG); split of Xu et al. 2022 (MMRNS)",
        notes="Of 9,904 lines of valid, 8,719 are in train and 1,105 (824 facts) in test; 80 lines are left, 73 different "
        f"facts: too few to select by. 57 entities of test are not in train. {_NO_PICTURES}",
        repair=without_leaks,
    ),
    Dataset(
        "MKG-W",
        files=_mygo("MKG-W", _MYGO, _MYGO, "data"),
        layout="MyGO",
        protocol="transductive",
        licence="not stated (Wikidata: CC0)",
        citation="Xu et al. 2022 (MMRNS)",
        notes=f"278 entities of test and 287 of valid are not in train, nor is one relation. {_NO_PICTURES}",
    ),
    Dataset(
        "MKG-Y",
        files=_mygo("MKG-Y", _MYGO_Y, _MYGO_Y_NAMES, "data"),
        layout="MyGO",
        protocol="transductive",
        licence="not stated (YAGO: CC BY)",
        citation="Xu et al. 2022 (MMRNS)",
        notes=f"Not at hand when this was written: not checked. {_NO_PICTURES}",
    ),
    Dataset(
        "TIVA",
        files=_files("TIVA", _NATIVE, "benchmarks/TIVA", _OPENKE),
        layout="OpenKE",
        protocol="transductive",
        licence="not stated",
        citation="Wang et al. 2023 (TIVA-KG); split of Zhang et al. 2024 (NativE)",
        notes="1,666 of 2,000 lines of test are in train (count of others). Relations are named by numbers only. "
        f"{_NO_PICTURES}",
        repair=without_leaks,
    ),
    Dataset(
        "KVC16K",
        files=_files("KVC16K", _NATIVE, "benchmarks/Kuai16K", _OPENKE),
        layout="OpenKE",
        protocol="transductive",
        licence="not stated",
        citation="Pan et al. 2022 (KuaiPedia); split of Zhang et al. 2024 (NativE)",
        notes=f"48 lines of test are in train (count of others). Relations are named by numbers only. {_NO_PICTURES}",
        repair=without_leaks,
    ),
    Dataset(
        "YAGO15K",
        files=_files("YAGO15K", _MMKB, "YAGO15K", {"YAGO15K_EntityTriples.txt": "YAGO15K_EntityTriples.nt"}),
        layout="one RDF file",
        protocol="not split",
        licence="BSD-3-Clause",
        citation="Liu et al. 2019 (MMKG)",
        notes="Published without a split: everything is train. Not at hand when this was written: not checked.",
    ),
    Dataset(
        "WN9-IMG",
        files=_files("WN9-IMG", _RSME, "src_data/WN", {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}),
        layout="split files",
        protocol="transductive",
        licence="not stated (WordNet: WordNet licence; ImageNet pictures: research only)",
        citation="Xie et al. 2017 (IKRL)",
        notes="Of test, 1,168 of 1,319 facts stand in train by the inverse relation: hyponym and hypernym are both there, and "
        f"so are part and whole. {_NO_PICTURES}",
    ),
    *(
        Dataset(
            name,
            files=(),
            homepage="https://drive.google.com/file/d/1u4QthmEboMzRarF_HLYfLDOLcOZeH8Gp/view",
            layout="split files",
            protocol="transductive",
            licence="not stated",
            citation="Lee et al. 2023 (VISTA)",
            notes="Published as one archive of several gigabytes on Google Drive, without pictures; to be fetched and unpacked "
            "by hand. Not at hand when this was written: not checked.",
        )
        for name in ("VTKG-I", "VTKG-C")
    ),
)

_STRUCTURE = (
    Dataset(
        "FB15k-237",
        files=_files("FB15k-237", _ROTATE, "data/FB15k-237", _SPLITS),
        layout="split files",
        protocol="transductive",
        licence="not stated (repository: MIT; Freebase: CC BY)",
        citation="Toutanova and Chen 2015",
        notes="29 entities of test and 8 of valid are not in train. Of the test facts of fb237_v1 to v4, all stand in train.",
    ),
    Dataset(
        "WN18RR",
        files=_files("WN18RR", _ROTATE, "data/wn18rr", _SPLITS),
        layout="split files",
        protocol="transductive",
        licence="not stated (repository: MIT; WordNet: WordNet licence)",
        citation="Dettmers et al. 2018",
        notes="209 entities of test and 198 of valid are not in train. Of test, 1,086 of 3,134 facts stand in train with head "
        "and tail exchanged. Of the test facts of WN18RR_v1 to v4, all stand in train.",
    ),
    *(
        Dataset(
            f"CoDEx-{size}",
            files=_files(f"CoDEx-{size}", _CODEX, f"data/triples/codex-{size.lower()}", _SPLITS),
            layout="split files",
            protocol="transductive",
            licence="MIT",
            citation="Safavi and Koutra 2020",
            notes=notes,
        )
        for size, notes in (
            (
                "S",
                "Of test, 254 of 1,828 facts stand in train with head and tail exchanged. 90 % of test are in CoDEx-M's train.",
            ),
            ("M", "Of test, 352 of 10,311 facts stand in train with head and tail exchanged."),
            ("L", "Not at hand when this was written: not checked."),
        )
    ),
    Dataset(
        "NELL-995",
        files=_files("NELL-995", _KBGAT, "data/NELL-995", _SPLITS),
        layout="split files",
        protocol="transductive",
        licence="not stated",
        citation="Xiong et al. 2017 (DeepPath); split of Nathani et al. 2019 (KBGAT)",
        notes="964 entities of test and 104 of valid are not in train. Of test, 1,161 of 3,992 facts join a pair that train "
        "joins. ULTRA, TRIX and others use another split of the same name (Zhang and Yao 2022).",
    ),
)


def _grail(name: str, inference_checked: bool) -> Dataset:
    checked = "" if inference_checked else " The inference graph was not at hand when this was written: not checked."
    return Dataset(
        name,
        files=(
            *_files(
                name,
                _GRAIL,
                f"data/{name}",
                {"train.txt": "train.txt", "valid.txt": "valid.txt", "test.txt": "test_transductive.txt"},
            ),
            *_files(name, _GRAIL, f"data/{name}_ind", dict(zip(_SPLITS, _INFERENCE, strict=True))),
        ),
        folder=f"grail/{name}",
        layout="training and inference graph",
        protocol="inductive",
        licence="not stated",
        citation="Teru et al. 2020 (GraIL)",
        notes="The inference graph has other entities and the same relations. Most papers report its valid and test together. "
        f"The versions of a family overlap: train on one at most.{checked}",
    )


def _ingram(name: str) -> Dataset:
    return Dataset(
        name,
        files=_files(name, _INGRAM, f"data/{name}", ("train.txt", "msg.txt", "valid.txt", "test.txt")),
        layout="InGram",
        protocol="fully inductive",
        licence="not stated",
        citation="Lee et al. 2023 (InGram)",
        notes="The inference graph has other entities, and new relations as far as the number says (per cent). The training "
        "graph has no held-out facts. Not at hand when this was written: not checked.",
    )


def _ilpc(size: str) -> Dataset:
    names = ("train.txt", "inference.txt", "inference_validation.txt", "inference_test.txt")
    return Dataset(
        f"ILPC-{size}",
        files=_files(f"ILPC-{size}", _ILPC, f"data/{size}", names),
        layout="ILPC 2022",
        protocol="inductive",
        licence="MIT",
        citation="Galkin et al. 2022 (ILPC)",
        notes="The training graph has no held-out facts. Not at hand when this was written: not checked.",
    )


_INDUCTIVE = (
    *(_grail(f"{family}_v{i}", family != "nell") for family in ("fb237", "WN18RR", "nell") for i in range(1, 5)),
    *(_ingram(f"{family}-{share}") for family in ("FB", "WK") for share in (25, 50, 75, 100)),
    *(_ingram(f"NL-{share}") for share in (0, 25, 50, 75, 100)),
    _ilpc("small"),
    _ilpc("large"),
)

PUBLISHED = tuple(
    dataclasses.replace(dataset, facts=FACTS.get(dataset.name, {})) for dataset in (*_MULTIMODAL, *_STRUCTURE, *_INDUCTIVE)
)
