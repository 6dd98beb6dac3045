"""The service over HTTP: answers, limits, errors in words, and a page that shows names and never runs them."""

import asyncio
import base64
import concurrent.futures
import hashlib
import html.parser
import json
import random
import re
import time

import pytest
from fastapi.testclient import TestClient

from tofu_jax.inference.queries import Query
from tofu_jax.serving import schema
from tofu_jax.serving.app import PAGE, Service, create_app
from tofu_jax.serving.batching import Batcher
from tofu_jax.serving.guard import Guard

HOSTS = ("localhost", "127.0.0.1", "[::1]")


@pytest.fixture
def start(predictor):
    """start(explain, timeout_s, **arguments of Batcher): a client of a running service."""
    clients = []

    def make(explain=None, timeout_s=20.0, **arguments):
        service = Service(predictor, Batcher(predictor, **arguments), explain, timeout_s)
        app = create_app(service, HOSTS)
        clients.append(TestClient(app, base_url="http://localhost", raise_server_exceptions=False).__enter__())
        clients[-1].batcher = service.batcher
        return clients[-1]

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start):
    return start()


def ask(client, *queries, **more):
    return client.post("/predict", json={"queries": queries, **more})


def test_answers_are_those_of_the_predictor(client, predictor):
    asked = [{"head": "e9", "relation": "r1"}, {"tail": "the e12", "relation": "r0"}, {"head": "e9", "tail": "e10"}]
    response = ask(client, *asked, k=3)
    assert response.status_code == 200, response.text
    content = response.json()
    assert (content["graph"], content["checkpoint"], content["messages"]) == ("made", "runs/made step 1", "train")
    assert [answer["asked"] for answer in content["answers"]] == ["tail", "head", "relation"]
    queries = [Query(query.get("head"), query.get("relation"), query.get("tail")) for query in asked]
    columns = predictor.answer(queries, 3).columns
    found = [row for answer in content["answers"] for row in answer["predictions"]]
    for name in schema.Prediction.model_fields:
        assert [row[name] for row in found] == columns[name]
    dropped = ask(client, asked[0], k=24, known="drop").json()["answers"][0]["predictions"]
    assert {row["known"] for row in dropped} == {""}


def test_answers_and_errors_have_the_form_of_the_schema(start):
    client = start(explain=lambda head, relation, tail, k: {"paths": [head, relation, tail, k]})
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/explain", "/names", "/health"}
    schema.PredictResponse.model_validate(ask(client, {"head": "e9", "relation": "r1"}).json(), strict=True)
    schema.Health.model_validate(client.get("/health").json(), strict=True)
    assert client.get("/health").json()["explains"]
    for found in client.get("/names", params={"text": "the e"}).json():
        schema.NameFound.model_validate(found, strict=True)
    assert client.post("/explain", json={"head": "e9", "relation": "r1", "tail": "e10"}).json() == {
        "paths": ["e9", "r1", "e10", 5]
    }
    refused = client.post("/explain", json={"head": "e9", "relation": "r1", "tail": "nobody"})
    schema.Problem.model_validate(refused.json(), strict=True)
    assert refused.status_code == 404
    for path in described["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                reference = response["content"]["application/json"]["schema"].get("$ref", "")
                assert reference.endswith("/Problem") == (status != "200")


def test_without_explanations_there_is_no_path(client):
    assert client.post("/explain", json={"head": "e9", "relation": "r1", "tail": "e10"}).status_code == 404
    assert not client.get("/health").json()["explains"]


@pytest.mark.parametrize(
    ("query", "status", "message", "suggestions"),
    [
        ({"head": "the e13x", "relation": "r1"}, 404, "unknown entity 'the e13x'. Did you mean", "the e13"),
        ({"head": "e9", "relation": "R1"}, 404, "unknown relation 'R1'. Did you mean 'r1'", "r1"),
        ({"tail": "twin", "relation": "r1"}, 422, "2 entities are called 'twin'", "e22"),
        ({"head": "\u0000\u202e", "relation": "r1"}, 404, r"unknown entity '\x00\u202e'", None),
        ({"head": "e9"}, 422, "1 of head, relation and tail are given; give two", None),
        ({"head": "e9", "relation": "r1", "tail": "e9"}, 422, "3 of head, relation and tail", None),
        ({"head": "", "relation": "r1"}, 422, "body.queries.0.head: String should have at least 1 character", None),
        ({"head": "x" * 501, "relation": "r1"}, 422, "at most 500 characters", None),
        ({"head": 9, "relation": "r1"}, 422, "should be a valid string", None),
        ({"head": "e9", "relation": "r1", "path": "/etc/passwd"}, 422, "Extra inputs are not permitted", None),
    ],
)
def test_a_question_that_cannot_be_asked(client, query, status, message, suggestions):
    response = ask(client, query)
    assert response.status_code == status
    problem = response.json()
    assert set(problem) == {"error", "suggestions"}
    assert message in problem["error"]
    assert problem["suggestions"][:1] == ([suggestions] if suggestions else problem["suggestions"][:1])
    assert (suggestions is None) == (not problem["suggestions"])


GOOD = {"head": "e9", "relation": "r1"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"queries": []}, "at least 1 item"),
        ({"queries": [GOOD] * 33}, "at most 32 items"),
        ({"queries": [{"head": "e9", "tail": "e10"}] * 3}, "3 questions for relations; ask at most 2"),
        ({"queries": [GOOD], "k": 0}, "greater than or equal to 1"),
        ({"queries": [GOOD], "k": 1001}, "less than or equal to 1000"),
        ({"queries": [GOOD] * 32, "k": 1000}, "ask for at most 5000 answers in a request"),
        ({"queries": [GOOD], "k": "5"}, "should be a valid integer"),
        ({"queries": [GOOD], "k": True}, "should be a valid integer"),
        ({"queries": [GOOD], "known": "forget"}, "'mark' or 'drop'"),
        ({"queries": [GOOD], "surprise": 1}, "Extra inputs"),
        ({"queries": GOOD}, "should be a valid tuple"),
        ([], "body:"),
        (None, "body:"),
    ],
)
def test_limits(client, body, message):
    response = client.post("/predict", json=body)
    assert response.status_code == 422
    assert message in response.json()["error"]
    assert client.batcher.calls == 0


def test_a_large_body(client):
    response = client.post("/predict", content=b'{"queries": "' + b"x" * schema.MOST_BODY_BYTES + b'"}')
    assert (response.status_code, response.headers["connection"]) == (413, "close")
    assert "65,536 bytes" in response.json()["error"]
    parts = (b"x" * 1000 for _ in range(100))  # in chunks, so that no length is announced
    assert client.post("/predict", content=parts).status_code == 413


def test_other_names_of_this_host_are_refused(client):
    """A page elsewhere whose name is made to lead here gets no answers."""
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "", "[::2]:80"):
        assert client.get("/health", headers={"host": host}).status_code == 400
    for host in ("localhost:8000", "127.0.0.1", "LOCALHOST", "[::1]:8000", "[::1]"):
        assert client.get("/health", headers={"host": host}).status_code == 200


def test_a_body_that_does_not_come():
    async def never():
        await asyncio.sleep(20)

    async def gone():
        return {"type": "http.disconnect"}

    async def call(receive):
        sent = []

        async def send(message):
            sent.append(message)

        guard = Guard(None, None, 100, 0.05)
        await guard({"type": "http", "headers": [(b"content-length", b"9" * 5000)]}, receive, send)
        await guard({"type": "http", "headers": []}, receive, send)
        return [message["status"] for message in sent if "status" in message]

    assert asyncio.run(call(never)) == [413, 408]
    assert asyncio.run(call(gone)) == [413, 400]


def test_many_at_once(start, lookup):
    """Fewer calls of the model than requests, and each gets its own answer, be it an error."""
    client = start()
    names = [f"e{9 + i % 12}" if i % 7 else "nobody" for i in range(48)]
    alone = {name: ask(client, {"head": name, "relation": "r1"}) for name in set(names)}
    calls = client.batcher.calls
    lookup.free.clear()
    held = client.batcher.ask([Query("e9", "r0", None)], 1, "mark")
    while not held.running():
        time.sleep(0.001)
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        futures = [pool.submit(ask, client, {"head": name, "relation": "r1"}) for name in names]
        while client.batcher.waiting < len(names) - names.count("nobody"):
            time.sleep(0.001)
        lookup.free.set()
        for name, future in zip(names, futures, strict=True):
            response = future.result(20)
            assert (response.status_code, response.json()) == (alone[name].status_code, alone[name].json())
    assert client.batcher.calls - calls == 2  # the one that was held, and all others


def test_overload_and_time(start, lookup):
    client = start(most_waiting=2, timeout_s=0.2)
    lookup.free.clear()
    late = ask(client, GOOD)
    assert (late.status_code, late.json()["suggestions"]) == (504, [])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask(client, GOOD), range(8)))
    assert sorted({response.status_code for response in found}) == [503, 504]
    refused = next(response for response in found if response.status_code == 503)
    assert int(refused.headers["retry-after"]) >= 1
    lookup.free.set()
    while client.batcher.waiting:
        time.sleep(0.001)
    assert ask(client, GOOD).status_code == 200


def test_an_error_of_ours_says_nothing_of_the_inside(start, lookup, caplog):
    client = start()
    lookup.table[9] = float("nan")
    response = ask(client, GOOD)
    assert (response.status_code, response.json()["error"]) == (
        500,
        "Something went wrong here; the log of the service says what.",
    )
    assert "finite" in caplog.text
    assert ask(client, {"head": "e10", "relation": "r1"}).status_code == 200


def bad_requests(count, seed=0):
    """Method, path, headers and body of requests that no service should answer."""
    draw = random.Random(seed)
    texts = ["", "x" * 600, "\ud800", "\u0000", "e9", "<b>", "9" * 400, "../../etc/passwd", "\u202e", "twin", "nobody"]
    leaves = [None, True, -1, 0, 1e308, 10**30, [], {}, [[]], {"": ""}]

    def value(depth=0):
        kind = draw.random()
        if kind < 0.4 or depth > 3:
            return draw.choice(texts + leaves)
        if kind < 0.7:
            return [value(depth + 1) for _ in range(draw.randrange(4))]
        keys = [draw.choice(["head", "relation", "tail", "queries", "k", "known", *texts]) for _ in range(draw.randrange(4))]
        return {key: value(depth + 1) for key in keys}

    def broken_body():
        good = json.dumps({"queries": [GOOD], "k": 3}).encode()
        place = draw.randrange(1, len(good) - 1)
        return draw.choice(
            [
                good[:place],
                good[:place] + bytes([draw.choice([0, 34, 92, 128, 255])]) + good[place + 1 :] + b"}",
                b"[" * draw.randrange(1, 60_000),
                b'{"queries":' * draw.randrange(1, 5000),
                b'{"k": NaN, "queries": Infinity}',
                b'{"k": ' + b"9" * draw.randrange(5, 6000) + b"}",
                bytes(draw.randrange(256) for _ in range(draw.randrange(300))),
                b"",
            ]
        )

    for _ in range(count):
        kind = draw.random()
        content_type = {"content-type": draw.choice(["application/json", "application/json", "text/plain", "x", "\u00e9"])}
        if kind < 0.5:
            yield "POST", "/predict", content_type, json.dumps(value()).encode()
        elif kind < 0.8:
            yield "POST", "/predict", content_type, broken_body()
        elif kind < 0.9:
            method = draw.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
            yield method, draw.choice(["/predict", "/%2e%2e/etc/passwd", "/docs", "/names/../x"]), {}, b""
        else:
            most = draw.choice(["0", "51", "x", "-1", "9" * 50, "1e9", "%00"])
            yield "GET", f"/names?most={most}&text={draw.choice(['%ff', 'e', '%00'])}", {}, b""


def test_bad_requests_are_refused_in_words(client):
    statuses = {}
    for number, (method, path, headers, body) in enumerate(bad_requests(500)):
        headers = {name: value.encode("latin-1") for name, value in headers.items()}
        response = client.request(method, path, headers=headers, content=body)
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        assert 400 <= response.status_code < 500, (number, method, path, body[:200], response.text[:300])
        assert response.json()["error"]
    assert len(statuses) >= 4, statuses
    assert ask(client, GOOD).status_code == 200


def test_completion_of_names(client):
    def names(**params):
        return client.get("/names", params=params).json()

    assert [found["name"] for found in names(text="THE E1", most=3)] == ["the e10", "the e11", "the e12"]
    assert [found["name"] for found in names(text="twin")] == ["e22", "e23"]  # a label that two carry names neither
    assert [found["id"] for found in names(text="r", kind="relation")] == ["r0", "r1", "r2", "r3"]
    assert names(text="nothing like it") == []
    assert len(names(most=50)) == 24
    assert len(names(text="", most=7)) == 7


class Elements(html.parser.HTMLParser):
    """Elements with their attributes, and the text of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.found, self.texts, self.inside = [], {}, ""

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.texts.setdefault(self.inside, []).append(data)


def test_the_page_needs_nothing_from_elsewhere(client):
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    elements = Elements()
    elements.feed(response.text)
    links = [value for _, attributes in elements.found for name, value in attributes.items() if name in ("src", "href")]
    assert links == ["data:,"]
    assert "http:" not in response.text
    assert "https:" not in response.text
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for element in ("script", "style"):
        digest = hashlib.sha256("".join(elements.texts[element]).encode()).digest()
        assert policy[f"{element}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on") or name == "style"]
    for headers in (response.headers, client.get("/health").headers, client.get("/nowhere").headers):
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


def test_the_page_can_be_used_without_a_mouse_or_eyes():
    elements = Elements()
    elements.feed(PAGE.read_text(encoding="utf-8"))
    assert ("html", {"lang": "en"}) in elements.found
    labelled = {attributes["for"] for tag, attributes in elements.found if tag == "label" and "for" in attributes}
    assert labelled == {"head", "relation", "tail"}
    roles = {attributes.get("role") for _, attributes in elements.found}
    assert {"status", "alert"} <= roles


def test_names_reach_the_page_as_text_only(client, graph):
    """JSON that no browser takes for a page, and a script that has no way to turn text into markup."""
    response = client.get("/names", params={"most": 50})
    assert response.headers["content-type"] == "application/json"
    hostile = [label for label in graph.labels if not label.startswith("the ") and label != "twin"]
    assert len(hostile) == 8
    assert {found["label"] for found in response.json()} >= set(hostile)
    for name in hostile:
        found = ask(client, {"head": name, "relation": "r1"}).json()["answers"][0]["predictions"]
        assert {row["head_label"] for row in found} == {name}
    script = re.search("<script>(.*)</script>", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", 'setAttribute("on'):
        assert way not in script
