"""Predictions on one graph: the same ranks as in an evaluation, whatever the names, the ties and the sizes of batches."""

import collections
import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import CODEBOOKS, SameTokens, make_graph, renumbered
from scipy.special import logsumexp

from tofu_jax.errors import DataError
from tofu_jax.evaluation.ranking import ScoreError, rank_queries
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.inference import asking, new_facts
from tofu_jax.inference.predict import GraphPredictor, message_graph
from tofu_jax.inference.pretrained import Pretrained, _side_by_side, parameter_shapes
from tofu_jax.inference.queries import Query, read_queries
from tofu_jax.model.tofu import ModelConfig, Tofu

SEEDS = st.integers(0, 2**16)
NONE = np.zeros((0, 3), np.int32)


def make_split_graph(seed, num_entities=9, num_relation_names=3, sizes=(20, 6, 6)):
    """A graph whose splits share no fact; the label of e3 is "the e3"."""
    random = np.random.default_rng(seed)
    shape = (num_entities, num_relation_names, num_entities)
    chosen = random.choice(np.prod(shape), sum(sizes), replace=False)
    facts = np.stack(np.unravel_index(chosen, shape), axis=1).astype(np.int32)
    graph = make_graph(num_entities, num_relation_names, facts[: sizes[0]])
    return dataclasses.replace(
        graph,
        valid=facts[sizes[0] : sizes[0] + sizes[1]],
        test=facts[sizes[0] + sizes[1] :],
        labels=tuple(f"the {name}" for name in graph.entities),
        relation_labels=tuple(f"the {name}" for name in graph.relations),
    )


def make_scorer(seed, graph, values=None):
    """Looks scores up that are drawn from a few `values`, so that ties abound; None: all differ."""
    random = np.random.default_rng(seed)
    shape = (graph.num_entities, graph.num_relations, graph.num_entities)
    table = random.normal(0, 2, shape) if values is None else random.choice(values, shape)
    table = table.astype(np.float32)
    return lambda queries: table[queries[:, 0], queries[:, 1]]


def facts_of(predictions):
    return list(zip(predictions.head, predictions.relation, predictions.tail, strict=True))


def named(graph, facts):
    return [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in facts.tolist()]


def every_question(graph):
    """All tail queries of a graph, then all head queries."""
    pairs = [(entity, relation) for relation in graph.relations for entity in graph.entities]
    return [Query(e, r, None) for e, r in pairs] + [Query(None, r, e) for e, r in pairs]


@pytest.mark.parametrize("values", [None, (-1.0, 0.0, 1.0)], ids=["all differ", "ties"])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_ranks_are_those_of_an_evaluation(values, seed):
    """Known answers left out, a held-out answer ranks as under the filtered protocol."""
    graph = make_split_graph(seed)
    scorer = make_scorer(seed, graph, values)
    asked_of = dataclasses.replace(graph, test=NONE)
    known = KnownAnswers.of_graph(asked_of)
    expected = rank_queries(scorer, graph, graph.test, 64, known).optimistic
    queries = [Query(h, r, None) for h, r, _ in named(graph, graph.test)]
    queries += [Query(None, r, t) for _, r, t in named(graph, graph.test)]
    predictions = GraphPredictor(asked_of, scorer, "made").answer(queries, k=graph.num_entities, known="drop")
    ranks = {(q, *fact): rank for q, fact, rank in zip(predictions.query, facts_of(predictions), predictions.rank, strict=True)}
    found = [ranks[q, *fact] for q, fact in enumerate(named(graph, graph.test) * 2)]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_marked_answers_stand_among_the_others(seed):
    graph = make_split_graph(seed)
    predictor = GraphPredictor(graph, make_scorer(seed, graph, (0.0, 1.0, 2.0, 3.0)), "made")
    splits = {fact: split for split in ("train", "valid", "test") for fact in named(graph, getattr(graph, split))}
    marked = predictor.answer(every_question(graph), k=graph.num_entities)
    dropped = predictor.answer(every_question(graph), k=graph.num_entities, known="drop")
    assert marked.known == tuple(splits.get(fact, "") for fact in facts_of(marked))
    assert set(dropped.known) == {""}
    rows = list(zip(marked.query.tolist(), facts_of(marked), marked.score, marked.known, strict=True))
    assert [row[:3] for row in rows if not row[3]] == list(
        zip(dropped.query.tolist(), facts_of(dropped), dropped.score, strict=True)
    )
    for query in range(len(every_question(graph))):
        chosen = marked.query == query
        score = marked.score[chosen]
        assert chosen.sum() == graph.num_entities
        np.testing.assert_array_equal(marked.rank[chosen], [1 + (score > own).sum() for own in score])
        assert (np.diff(score) <= 0).all()


def test_a_head_query_is_the_inverse_of_a_tail_query():
    graph = make_split_graph(0)
    asked = []

    def scorer(queries):
        asked.extend(map(tuple, queries.tolist()))
        return np.zeros((len(queries), graph.num_entities), np.float32)

    predictions = GraphPredictor(graph, scorer, "made").answer([Query(None, "r1", "e4"), Query("e4", "r1", None)], k=2)
    assert sorted(asked) == [(4, 1), (4, 1 + 3)]
    assert predictions.asked == ("head", "head", "tail", "tail")
    assert predictions.tail[:2] == ("e4", "e4") == predictions.head[2:]
    assert predictions.relation == ("r1",) * 4


def test_scores_are_logarithms_of_shares_among_unknown_answers():
    graph = make_split_graph(1)
    scorer = make_scorer(1, graph)
    predictions = GraphPredictor(graph, scorer, "made").answer([Query("e2", "r0", None)], k=graph.num_entities)
    unknown = np.array(predictions.known) == ""
    assert np.exp(predictions.score[unknown]).sum() == pytest.approx(1)
    raw = scorer(np.array([[2, 0]]))[0][[graph.entities.index(name) for name in predictions.tail]]
    np.testing.assert_allclose(predictions.score, raw - logsumexp(raw[unknown]), rtol=1e-6)


def test_nothing_is_left_where_all_answers_are_known():
    everything = [(0, 0, t) for t in range(3)]
    graph = make_graph(3, 1, everything)
    predictor = GraphPredictor(graph, lambda queries: np.arange(3 * len(queries), dtype=np.float32).reshape(-1, 3), "made")
    marked = predictor.answer([Query("e0", "r0", None)])
    assert marked.tail == ("e2", "e1", "e0")
    assert np.isfinite(marked.score).all()
    dropped = predictor.answer([Query("e0", "r0", None)], known="drop")
    assert len(dropped) == 0
    assert "every candidate is known" in str(dropped)
    assert len(predictor.answer([])) == 0


@settings(max_examples=20)
@given(seed=SEEDS, k=st.integers(1, 12))
def test_relations_are_ranked_by_the_score_of_each_fact(seed, k):
    """From the head plus from the tail, each as when asked alone."""
    graph = make_split_graph(seed, num_relation_names=7)
    predictor = GraphPredictor(graph, make_scorer(seed, graph, (0.0, 1.0, 4.0)), "made")
    everything = predictor.answer(every_question(graph), k=graph.num_entities)
    scores, splits = collections.Counter(), dict(zip(facts_of(everything), everything.known, strict=True))
    for fact, score in zip(facts_of(everything), everything.score, strict=True):
        scores[fact] += score
    pairs = [("e1", "e5"), ("e5", "e1"), ("e2", "e2")]
    found = predictor.answer([Query(head, None, tail) for head, tail in pairs], k)
    expected = []
    for query, (head, tail) in enumerate(pairs):
        facts = sorted(((head, relation, tail) for relation in graph.relations), key=lambda fact: (-scores[fact], fact))
        expected += [(query, fact, scores[fact], splits[fact]) for fact in facts[:k]]
    assert list(zip(found.query.tolist(), facts_of(found), found.score, found.known, strict=True)) == expected
    assert set(found.asked) == {"relation"}
    dropped = predictor.answer([Query(head, None, tail) for head, tail in pairs], 7, "drop")
    whole = predictor.answer([Query(head, None, tail) for head, tail in pairs], 7)
    assert facts_of(dropped) == [fact for fact in facts_of(whole) if not splits[fact]]


@pytest.mark.parametrize(("batch", "pool"), [(1, 1), (5, 3), (64, 2**12)])
@settings(max_examples=15)
@given(seed=SEEDS, k=st.integers(1, 300), ties=st.booleans(), candidates=st.sampled_from([1, 3, 64]))
def test_all_new_facts_equal_brute_force(batch, pool, seed, k, ties, candidates):
    """Whatever is asked at once and whatever is forgotten on the way."""
    graph = make_split_graph(seed)
    predictor = GraphPredictor(graph, make_scorer(seed, graph, (0.0, 1.0) if ties else None), "made")
    pairs = [(entity, relation) for relation in graph.relations for entity in graph.entities]
    tails = predictor.answer([Query(e, r, None) for e, r in pairs], candidates, "drop")
    heads = predictor.answer([Query(None, r, e) for e, r in pairs], graph.num_entities, "drop")
    head_scores = dict(zip(facts_of(heads), heads.score, strict=True))
    scored = zip(tails.relation, tails.head, tails.tail, tails.score, strict=True)
    expected = sorted((-(score + head_scores[h, r, t]), r, h, t) for r, h, t, score in scored)[:k]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asking, "_MOST_QUERIES", batch)
        patched.setattr(new_facts, "CANDIDATES", candidates)
        patched.setattr(new_facts, "_LEAST_HELD", pool)
        found = predictor.best_facts(k)
    assert list(zip(-found.score, found.relation, found.head, found.tail, strict=True)) == expected
    np.testing.assert_array_equal(found.rank, [1 + (found.score > own).sum() for own in found.score])
    known = {fact for split in (graph.train, graph.valid, graph.test) for fact in named(graph, split)}
    assert not {*facts_of(found)} & known


def test_new_facts_of_some_heads_and_relations():
    graph = make_split_graph(3)
    predictor = GraphPredictor(graph, make_scorer(3, graph), "made")
    everything = predictor.best_facts(10_000)
    chosen = [fact for fact in facts_of(everything) if fact[0] in ("e1", "e7") and fact[1] == "r2"]
    assert facts_of(predictor.best_facts(10_000, relations=["the r2"], heads=["e7", "the e1", "e1"])) == chosen


@settings(max_examples=20)
@given(seed=SEEDS)
def test_numbering_does_not_matter(seed):
    """The same facts and scores under other positions: the same table, ties included."""
    graph = make_split_graph(seed, sizes=(20, 0, 0))
    random = np.random.default_rng(seed)
    entities, relations = random.permutation(graph.num_entities), random.permutation(len(graph.relations))
    other = dataclasses.replace(
        renumbered(graph, entities, relations),
        entities=tuple(graph.entities[i] for i in np.argsort(entities)),
        relations=tuple(graph.relations[i] for i in np.argsort(relations)),
    )
    scorer = make_scorer(seed, graph, (0.0, 1.0))
    both = np.concatenate([np.argsort(relations), len(relations) + np.argsort(relations)])

    def renumbered_scorer(queries):
        old = np.stack([np.argsort(entities)[queries[:, 0]], both[queries[:, 1]]], axis=1)
        return scorer(old)[:, np.argsort(entities)]

    questions = every_question(graph)
    found = [GraphPredictor(*pair, "made").answer(questions, 4) for pair in ((graph, scorer), (other, renumbered_scorer))]
    assert facts_of(found[0]) == facts_of(found[1])
    np.testing.assert_allclose(found[0].score, found[1].score, rtol=1e-12)


def test_messages_of_all_splits():
    graph = make_split_graph(0)
    doubled = dataclasses.replace(graph, test=np.concatenate([graph.test, graph.train[:2]]))
    seen = message_graph(doubled, "all")
    assert named(seen, seen.train) == named(graph, np.concatenate([graph.train, graph.valid, graph.test]))
    assert len(seen.valid) == len(seen.test) == 0
    assert message_graph(graph, "train") is graph
    with pytest.raises(DataError, match="messages is 'both'; choose 'train' or 'all'"):
        message_graph(graph, "both")


def test_refusals(tmp_path):
    graph = make_split_graph(0)
    predictor = GraphPredictor(graph, make_scorer(0, graph), "made")
    file = tmp_path / "questions.tsv"
    file.write_text("e0\tr0\t?\n?\tr9\te1\n?\t?\te1\n")
    from_file = read_queries(file)
    for queries, message in (
        ([Query("e0", "r0", "e1")], r"^0 of head, relation and tail are left open"),
        ([Query("e0", None, None)], r"^2 of head"),
        ([Query("x", "r0", None)], r"^made: unknown entity 'x'"),
        (from_file[:2], rf"^{file}:2: made: unknown relation 'r9'"),
        (from_file, rf"^{file}:3: 2 of head"),
    ):
        with pytest.raises(DataError, match=message):
            predictor.answer(queries)
    for options in ({"k": 0}, {"known": "hide"}):
        with pytest.raises(DataError, match="k must be at least 1, and known 'mark' or 'drop'"):
            predictor.answer([Query("e0", "r0", None)], **options)
    with pytest.raises(DataError, match="k is 0"):
        predictor.best_facts(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no questions"),
        (b"\n", r":1: 1 column\(s\), expected 3"),
        (b"a\tr\t?\n\nb\tr\t?\n", r":2: 1 column\(s\), expected 3"),
        (b"a\tr\n", r":1: 2 column\(s\)"),
        (b"a\tr\t\xff\n", "not UTF-8 at byte 4"),
    ],
)
def test_files_of_questions_are_refused_in_words(tmp_path, content, message):
    file = tmp_path / "questions.tsv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_queries(file)


def test_files_of_questions(tmp_path):
    file = tmp_path / "questions.tsv"
    file.write_bytes("\ufeffa b\tr\t?\r\n?\tr\tü\u2028x\na\t?\tb".encode())
    assert [query[:3] for query in read_queries(file)] == [("a b", "r", None), (None, "r", "ü\u2028x"), ("a", None, "b")]
    with pytest.raises(DataError, match="cannot be read"):
        read_queries(tmp_path / "none.tsv")


def test_scores_that_are_not_finite_are_refused():
    graph = make_split_graph(0)
    predictor = GraphPredictor(graph, lambda queries: np.full((len(queries), graph.num_entities), np.nan), "made")
    with pytest.raises(ScoreError, match=r"query \(\?, 'r1', 'e3'\)"):
        predictor.answer([Query(None, "r1", "e3")])


@pytest.fixture(scope="module")
def model():
    """An untrained model: random numbers in the shapes of its parameters."""
    small = Tofu(ModelConfig(width=4, layers=2, prompt_layers=1, relation_layers=1, fusion_heads=2))
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: random.standard_normal(leaf.shape).astype(np.float32) / 2, parameter_shapes(small, CODEBOOKS)
    )
    return Pretrained(small, params, SameTokens(), 2, 0, "untrained", {})


def test_a_model_predicts(model):
    """The three verbs of a model, on a graph that is prepared once."""
    graph = make_split_graph(0)
    model.tokenizers.calls = 0
    tails = model.predict(graph, head="e1", relation="the r0", k=4)
    heads = model.predict(graph, tail=["e1"], relation="r0", k=4, known="drop")
    relations = model.predict_relation(graph, head="e1", tail="e2")
    facts = model.predict_all(graph, k=5, relations=["r0"], heads=["e1"])
    assert model.tokenizers.calls == 1
    predictor = GraphPredictor(graph, model.scorer(model.prepare(graph)[0]), "untrained")
    questions = (Query("e1", "r0", None), Query(None, "r0", "e1"), Query("e1", None, "e2"))
    expected = [*(predictor.answer([question], 9) for question in questions), predictor.best_facts(9, ["r0"], ["e1"])]
    for predictions, whole in zip((tails, heads, relations, facts), expected, strict=True):
        scores = dict(zip(facts_of(whole), whole.score, strict=True))
        np.testing.assert_allclose(predictions.score, [scores[fact] for fact in facts_of(predictions)], atol=1e-4)
    assert facts_of(tails) == facts_of(expected[0])[:4]
    assert (len(tails), len(heads), len(relations), len(facts)) == (4, 4, 3, 5)
    assert tails.checkpoint == "untrained"


def test_graphs_stay_prepared_but_not_all_of_them(model, monkeypatch):
    made = []
    monkeypatch.setattr(Pretrained, "scorer", lambda self, prepared: made.append(prepared.graph))
    one, two, three = (make_split_graph(seed) for seed in range(3))
    model = dataclasses.replace(model)
    for graph in (one, two, one, two, three, two, three):
        assert model.predictor(graph) is model.predictor(graph)
    assert [any(graph is seen for seen in made) for graph in (one, two, three)] == [True] * 3
    assert len(made) == 3
    model.predictor(three, "all")
    assert len(made[3].train) == len(three.train) + len(three.valid) + len(three.test)


def test_lists_of_names():
    questions = _side_by_side(head=["a", "b"], relation="r", tail=None)
    assert questions == [Query("a", "r", None), Query("b", "r", None)]
    assert _side_by_side(head=None, relation=("r", "s"), tail=["c", "d"]) == [Query(None, "r", "c"), Query(None, "s", "d")]
    assert _side_by_side(head=[], relation="r", tail=None) == []
    with pytest.raises(DataError, match=r"of one length, got \{'head': 2, 'relation': 1\}"):
        _side_by_side(head=["a", "b"], relation=["r"], tail=None)
