"""The card of an exported model: what it is, how to use it, what it was trained on, how it did, and what it cannot do."""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_jax.errors import DataError
from tofu_jax.evaluation.tables import MODEL_NAME, Results, markdown_table

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_METRICS = {"MRR": "mrr", "Hits@1": "hits@1", "Hits@10": "hits@10"}

_CARD = """\
---
library_name: tofu_jax
pipeline_tag: graph-ml
tags: [knowledge-graph, link-prediction, zero-shot, multi-modal]
{front_matter}---

# {name}

A [TOFU](https://arxiv.org/abs/2602.15896) model for zero-shot link prediction in multi-modal knowledge graphs, made with
tofu_jax: {parameters:,} parameters; its last training took {step:,} steps. No parameter belongs to an entity or a relation,
so the model can be asked about graphs that it has not seen, from their structure, texts and images.

Licence of the weights: {licence}. The training graphs have licences of their own.

## Use

The three files of this folder are the whole model; loading runs no code from them. `<model>` is this folder, or
`owner/name` (`owner/name@revision`) on the Hugging Face hub.

```
tofu-jax zero-shot --checkpoint=<model> --graph=<folder of your graph>
```

```python
from tofu_jax.graphs.registry import load_graph
from tofu_jax.inference.pretrained import load_pretrained

model = load_pretrained("<model>")
graph, _ = model.prepare(load_graph("<folder of your graph>"))
scores = model.scorer(graph)(queries)  # int32 [B, 2] (head, relation) -> float32 [B, entities], higher is likelier
```

To put a copy on the hub: `hf upload <owner>/<name> <this folder>`.

## Inputs

{inputs}

## Training data

{data}

## Figures

{figures}

## Limits

- Scores rank the answers to one query; they are no probabilities and cannot be compared between queries.
- A prediction is a guess from patterns in the graph and in the training data, including their errors and biases. Check it
  before anybody is affected by it.
- Texts are read by a small encoder of English, images as a few codes; what is in neither is not seen.
- The model says nothing about entities that the graph does not hold, and knows no time: facts are true or absent.

## Files

`model.safetensors` has SHA-256 `{weights_sha256}`, which `config.json` holds too and which is checked on loading. That shows
damage, not who made the files: get them from somebody you trust, or name a commit of the hub as revision.
"""


def model_card(config: Mapping[str, Any], num_parameters: int, figures: Sequence[Results] = ()) -> str:
    """The card in Markdown, its front matter as the Hugging Face hub reads it.

    Args:
      config: contents of config.json.
      num_parameters: of the model, codebooks not counted.
      figures: of evaluations of this model, as of `evaluation.report.evaluate`.
    """
    return _CARD.format(
        front_matter=f"license: {config['licence']}\n" if config["licence"] else "",
        name=config["name"],
        parameters=num_parameters,
        step=config["step"],
        licence=config["licence"] or "not stated",
        inputs=_inputs(config),
        data=_data(config),
        figures=_figures(figures),
        weights_sha256=config["weights_sha256"],
    )


def check_licence(licence: str | None) -> None:
    """Raises a `DataError` if it is not spelled as the hub spells licences."""
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise DataError(f"Licence {licence!r:.100}: give the hub's identifier of it, such as apache-2.0 or cc-by-sa-4.0.")


def read_figures(path: pathlib.Path, step: int) -> Results:
    """Results of an evaluation, for the card.

    Args:
      path: of a results.json.
      step: of the model that the card is for.

    Raises:
      DataError: no such file, or it tells of something else than an evaluation of this step.
    """
    try:
        results = json.loads(path.read_bytes())
        _figures([results])  # all that the card needs is there
        checkpoint = str(results["checkpoint"])
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no results of an evaluation ({error!r:.200}); give a results.json of zero-shot.") from error
    if not checkpoint.endswith(f" step {step}"):
        raise DataError(f"{path}: figures of {checkpoint}, but the model is of step {step}; evaluate this model.")
    return results


def _inputs(config: Mapping[str, Any]) -> str:
    tokens, codebooks = config["tokens"], config["codebooks"]
    rows = [
        ("structure", f"{tokens['examples']} example facts of the query relation, prompt graphs of {tokens['hops']} hops", ""),
        (
            "text",
            f"{tokens['text']} word pieces of an entity, a vector of its text, whom it names",
            _codebook(codebooks["text"]),
        ),
        ("image", f"{tokens['image']} codes of an entity", _codebook(codebooks["image"])),
    ]
    return markdown_table(("what", "how much", "frozen codebook (SHA-256)"), rows, num_words=3)


def _codebook(codebook: Mapping[str, str]) -> str:
    return f"{codebook['name']} ({codebook['sha256']})"


def _data(config: Mapping[str, Any]) -> str:
    sources, graphs = config["sources"], config["graphs"]
    removed = sum(source["removed_evaluation_facts"] for source in sources)
    said = (
        f"{removed:,} facts that graphs used for evaluation hold out (as they stand, or reversed) were taken out of the "
        "training facts first."
        if removed
        else "No facts were taken out for an evaluation: figures on a graph that shares facts with these are too good."
    )
    counts = [(s["name"], f"{s['facts']:,}", f"{s['removed_evaluation_facts']:,}") for s in sources]
    hashes = [(graph["name"], f"{graph['facts']:,}", graph["sha256"]) for graph in graphs]
    return "\n".join(
        [
            said,
            "",
            markdown_table(("source", "training facts", "evaluation facts removed"), counts),
            "",
            f"<details><summary>Training graphs as they were used, with fingerprints: {len(graphs)}</summary>",
            "",
            markdown_table(("graph", "training facts", "SHA-256 of names and facts"), hashes),
            "",
            "</details>",
        ]
    )


def _figures(figures: Sequence[Results]) -> str:
    if not figures:
        return "None were given when this card was made."
    others = list(dict.fromkeys(name for results in figures for name in _others(results)))
    rows = [_row(results, others) for results in figures]
    headings = ("graph", "facts", "queries", *_METRICS, *(f"MRR of {name}" for name in others))
    return "\n".join(
        [
            f"Zero-shot: “{MODEL_NAME}” is this model, asked about graphs that it was not trained on unless they stand above. "
            "Both sides of every fact, all entities as candidates, other known answers filtered out, mean rank over ties.",
            "",
            markdown_table(headings, rows, num_words=2),
        ]
    )


def _others(results: Results) -> dict[str, float]:
    """MRR of each baseline and control."""
    ranked = {**results["baselines"], **results.get("controls", {})}
    return {str(name): policies["realistic"]["mrr"] for name, policies in ranked.items()}


def _row(results: Results, others: Sequence[str]) -> tuple[str, ...]:
    metrics, mrr = results["metrics"]["realistic"], _others(results)
    return (
        str(results["graph"]),
        str(results["protocol"]["split"]),
        f"{results['queries']:,}",
        *(f"{metrics[name]:.3f}" for name in _METRICS.values()),
        *(f"{mrr[name]:.3f}" if name in mrr else "–" for name in others),
    )
