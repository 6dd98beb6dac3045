"""An evaluation as one page that needs nothing beside it: report.html.

No scripts, no links to anything outside: pictures stand in the page itself, and a policy in its head forbids the browser to
fetch what is not there. All words from the data are escaped by the template.
"""

import base64
import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2

from tofu_jax.errors import DataError
from tofu_jax.evaluation.tables import HEADINGS, METRICS, Results, overall_tables, protocol_table, relation_table
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.tokens.pictures import read_picture

TEMPLATE = pathlib.Path(__file__).with_name("report.html.jinja")
_MOST_RELATIONS = 500
_SIDE = 96  # pixels of an entity's picture, shown at half of that


def render_page(results: Results, graph: KnowledgeGraph | None, curves: pathlib.Path | None) -> str:
    """The page; arguments as of `report.write_report`."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    mistakes = results.get("mistakes", [])
    shown = {name["id"] for mistake in mistakes for name in (mistake["head"], mistake["tail"], *mistake["instead"])}
    metrics = results["metrics"]["realistic"]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        graph=results["graph"],
        checkpoint=results["checkpoint"] or "none",
        figures=[(heading, _figure(metrics[name], name)) for heading, name in zip(HEADINGS, METRICS, strict=True)],
        queries=results["queries"],
        seconds=results["seconds"],
        tables=overall_tables(results),
        relations=relation_table(results["relations"], _MOST_RELATIONS),
        mistakes=mistakes,
        pictures=entity_pictures(graph, shown) if graph else {},
        curves=_inline("png", curves.read_bytes()) if curves and curves.is_file() else None,
        protocol=protocol_table(results).rows,
        settings=[row for name, group in results.get("configuration", {}).items() for row in _words(name, group)],
        environment=list(results.get("environment", {}).items()),
    )


def entity_pictures(graph: KnowledgeGraph, entities: Iterable[str]) -> dict[str, str]:
    """The first picture of each entity that has one that can be read: id → address with the picture in it."""
    positions = {name: position for position, name in enumerate(graph.entities)}
    pictures = {}
    for name in entities:
        for image in graph.images[positions[name]][:1]:
            try:
                picture = read_picture(graph.image_root / image)
            except DataError:  # the report is about links; `tofu-jax check` is about pictures
                continue
            file = io.BytesIO()
            picture.resize((_SIDE, _SIDE)).save(file, "JPEG", quality=80)
            pictures[name] = _inline("jpeg", file.getvalue())
    return pictures


def _inline(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _figure(value: float, metric: str) -> str:
    return f"{value:,.1f}" if metric == "mean_rank" else f"{value:.3f}"


def _words(group: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as words; a list by its items."""
    rows = []
    for name, value in values.items():
        listed = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        rows.append((f"{group}: {name.replace('_', ' ')}", listed or "none"))
    return rows
