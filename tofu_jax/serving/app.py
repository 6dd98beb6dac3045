"""The paths of the service: /predict, /explain, /names, /health, /openapi.json, and a page at /."""

import asyncio
import base64
import contextlib
import hashlib
import importlib.metadata
import logging
import pathlib
import re
from collections.abc import AsyncIterator, Callable, Collection
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from tofu_jax.errors import DataError
from tofu_jax.inference.names import NamingError, UnknownNameError
from tofu_jax.inference.predict import GraphPredictor
from tofu_jax.inference.predictions import NOTE
from tofu_jax.inference.queries import Query as Question
from tofu_jax.serving import schema
from tofu_jax.serving.batching import Batcher, OverloadedError
from tofu_jax.serving.guard import Guard

Explain = Callable[[str, str, str, int], dict[str, Any]]
"""(head, relation, tail, k) → an explanation as JSON holds it."""

PAGE = pathlib.Path(__file__).with_name("page.html")
_BODY_TIMEOUT_S = 10.0
_MOST_PROBLEMS = 5  # that an answer lists
_PROBLEMS = {
    404: "An unknown name.",
    408: "The body took too long.",
    413: "The body is too large.",
    422: "The request makes no sense, or a name is ambiguous.",
    503: "Too much is waiting; the header Retry-After says when to ask again.",
    504: "The answer took too long.",
}


class Service:
    """What the paths need: names are checked here, the model is asked by the batcher."""

    def __init__(self, predictor: GraphPredictor, batcher: Batcher, explain: Explain | None, timeout_s: float):
        """Keeps them.

        Args:
          predictor: of the graph.
          batcher: that asks it.
          explain: explains a fact; None where the model cannot.
          timeout_s: for an answer.
        """
        self.predictor, self.batcher, self.explain, self._timeout_s = predictor, batcher, explain, timeout_s

    async def predict(self, request: schema.PredictRequest) -> dict[str, Any]:
        """Answers a request in the form of `schema.PredictResponse`."""
        queries = [Question(query.head, query.relation, query.tail) for query in request.queries]
        await run_in_threadpool(self._check, queries)
        found = await self._result(self.batcher.ask(queries, request.k, request.known))
        answers = [{"asked": query.asked, "predictions": rows} for query, rows in zip(queries, found, strict=True)]
        told = {name: getattr(self.predictor, name) for name in ("checkpoint", "messages")}
        return {"graph": self.predictor.graph.name, **told, "note": NOTE, "answers": answers}

    async def explanation(self, request: schema.ExplainRequest) -> dict[str, Any]:
        """Explains a fact."""
        await run_in_threadpool(self._check_fact, request)
        fact = (request.head, request.relation, request.tail, request.k)
        return await self._result(self.batcher.run(lambda: self.explain(*fact), cost=request.k))

    def names(self, kind: Literal["entity", "relation"], text: str, most: int) -> list[dict[str, str]]:
        """Names that begin with a text or hold it."""
        graph = self.predictor.graph
        names, ids, labels = (
            (self.predictor.entities, graph.entities, graph.labels)
            if kind == "entity"
            else (self.predictor.relations, graph.relations, graph.relation_labels)
        )
        positions = names.beginning_with(text, most)
        return [{"name": names.spelling(i), "id": ids[i], "label": labels[i]} for i in positions]

    def health(self) -> dict[str, Any]:
        """What answers, and how busy it is."""
        graph = self.predictor.graph
        return {
            "status": "ok",
            "version": importlib.metadata.version("tofu_jax"),
            "graph": graph.name,
            "checkpoint": self.predictor.checkpoint,
            "messages": self.predictor.messages,
            "entities": graph.num_entities,
            "relations": len(graph.relations),
            "explains": self.explain is not None,
            "waiting": self.batcher.waiting,
        }

    def _check(self, queries: list[Question]) -> None:
        for query in queries:
            self.predictor.check(query)

    def _check_fact(self, request: schema.ExplainRequest) -> None:
        for query in (Question(request.head, request.relation, None), Question(None, request.relation, request.tail)):
            self.predictor.check(query)

    async def _result(self, future) -> Any:
        """What a future of the batcher brings; it is cancelled when time is up."""
        return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)


def create_app(service: Service, hosts: Collection[str] | None) -> FastAPI:
    """The application.

    Args:
      service: that answers; its batcher is closed when the application stops.
      hosts: names under which it may be called, None for any (`Guard`).
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.batcher.close)

    # No docs_url: FastAPI's pages load scripts from elsewhere.
    app = FastAPI(
        title="tofu_jax",
        description=f"Link prediction on {service.predictor.graph.name}. {NOTE}",
        version=importlib.metadata.version("tofu_jax"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, hosts=hosts, most_bytes=schema.MOST_BODY_BYTES, body_timeout_s=_BODY_TIMEOUT_S)
    _add_paths(app, service)
    _add_problems(app)
    return app


def _add_paths(app: FastAPI, service: Service) -> None:
    page, policy = _page()
    problems = {status: {"model": schema.Problem, "description": text} for status, text in _PROBLEMS.items()}

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"content-security-policy": policy})

    @app.get("/health", response_model=schema.Health, responses={503: problems[503]})
    async def health() -> JSONResponse:
        """What answers here, and how busy it is."""
        if not service.batcher.is_working:
            return _problem(503, "The service is stopping.")
        return JSONResponse(service.health())

    @app.get("/names", response_model=list[schema.NameFound], responses={422: problems[422]})
    async def names(
        text: Annotated[str, Query(max_length=schema.MOST_CHARACTERS)] = "",
        kind: Literal["entity", "relation"] = "entity",
        most: Annotated[int, Query(ge=1, le=schema.MOST_NAMES)] = 10,
    ) -> JSONResponse:
        """Names to complete a text with."""
        return JSONResponse(await run_in_threadpool(service.names, kind, text, most))

    @app.post("/predict", response_model=schema.PredictResponse, responses=problems)
    async def predict(request: schema.PredictRequest) -> JSONResponse:
        """The likeliest tails of (head, relation, ?), heads of (?, relation, tail), or relations of (head, ?, tail)."""
        return JSONResponse(await service.predict(request))

    if service.explain is not None:

        @app.post("/explain", response_model=schema.Explanation, responses=problems)
        async def explain(request: schema.ExplainRequest) -> JSONResponse:
            """Why the model scores a fact as it does."""
            return JSONResponse(await service.explanation(request))


def _add_problems(app: FastAPI) -> None:
    """Turns errors into answers; none says what the request held, but for names."""

    @app.exception_handler(NamingError)
    async def name(_, error: NamingError) -> JSONResponse:
        return _problem(404 if isinstance(error, UnknownNameError) else 422, str(error), error.suggestions)

    @app.exception_handler(DataError)
    async def data(_, error: DataError) -> JSONResponse:
        return _problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def validation(_, error: RequestValidationError) -> JSONResponse:
        found = error.errors()[:_MOST_PROBLEMS]
        texts = (f"{'.'.join(str(part)[:50] for part in problem['loc'])}: {problem['msg']}" for problem in found)
        return _problem(422, "; ".join(texts) + ". The schema is at /openapi.json.")

    @app.exception_handler(HTTPException)
    async def http(_, error: HTTPException) -> JSONResponse:
        return _problem(error.status_code, f"{error.detail}. The schema is at /openapi.json.", headers=error.headers)

    @app.exception_handler(OverloadedError)
    async def overloaded(_, error: OverloadedError) -> JSONResponse:
        return _problem(503, str(error), headers={"retry-after": str(error.retry_after_s)})

    @app.exception_handler(TimeoutError)
    async def late(*_) -> JSONResponse:
        return _problem(504, "The answer took too long; ask less at once, or later.")

    @app.exception_handler(Exception)
    async def unexpected(_, error: Exception) -> JSONResponse:
        logging.getLogger(__name__).error("a request failed", exc_info=error)
        return _problem(500, "Something went wrong here; the log of the service says what.")


def _problem(status: int, error: str, suggestions: Collection[str] = (), headers: dict[str, str] | None = None) -> JSONResponse:
    # What stands in a request may be no text that UTF-8 can hold.
    content = {"error": _encodable(error), "suggestions": list(suggestions)}
    return JSONResponse(content, status_code=status, headers=headers)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _page() -> tuple[str, str]:
    """The page, and a Content-Security-Policy that lets its own script and style run, and nothing else."""
    page = PAGE.read_text(encoding="utf-8")

    def hashes(element: str) -> str:
        found = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    policy = {
        "default-src": "'none'",
        "script-src": hashes("script"),
        "style-src": hashes("style"),
        "img-src": "data:",  # the empty icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return page, "; ".join(f"{name} {value}" for name, value in policy.items())
