"""tofu_jax: a foundation model for multi-modal knowledge graphs (after TOFU, arXiv 2602.15896).

The public names; each is imported when it is first used, so that `import tofu_jax` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained

__all__ = ["KnowledgeGraph", "load_graph", "load_pretrained"]

_MODULES = {
    "KnowledgeGraph": "tofu_jax.graphs.knowledge_graph",
    "load_graph": "tofu_jax.graphs.registry",
    "load_pretrained": "tofu_jax.inference.pretrained",
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
