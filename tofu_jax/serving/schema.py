"""What requests and answers hold, and the limits of a request. Also the schema at /openapi.json."""

from typing import Annotated, Any, Literal

import pydantic

MOST_BODY_BYTES = 64 * 2**10
MOST_QUERIES = 32  # of a request
MOST_RELATION_QUERIES = 2  # among them: each costs as many scorings as the graph has relations
MOST_CHARACTERS = 500  # of a name
MOST_K = 1000
MOST_ROWS = 5000  # of a request: queries times k
MOST_PATHS = 20  # of an explanation
MOST_NAMES = 50  # of a completion

Name = Annotated[str, pydantic.Field(min_length=1, max_length=MOST_CHARACTERS, examples=["France"])]


class _Strict(pydantic.BaseModel):
    """No unknown fields, and no text where a number belongs."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class Question(_Strict):
    """A fact with one part left out: that part is asked for. Names are ids or labels."""

    head: Name | None = None
    relation: Name | None = None
    tail: Name | None = None

    @pydantic.model_validator(mode="after")
    def _one_part_is_open(self) -> "Question":
        given = [name for name in (self.head, self.relation, self.tail) if name is not None]
        if len(given) != 2:
            raise ValueError(f"{len(given)} of head, relation and tail are given; give two: the third is asked for")
        return self


class PredictRequest(_Strict):
    """Questions, and how to answer them."""

    queries: Annotated[tuple[Question, ...], pydantic.Field(min_length=1, max_length=MOST_QUERIES, strict=False)]
    k: Annotated[int, pydantic.Field(ge=1, le=MOST_K, description="Answers to a question.")] = 10
    known: Annotated[
        Literal["mark", "drop"],
        pydantic.Field(description="mark: say in which split the graph holds an answer already; drop: leave such answers out."),
    ] = "mark"

    @pydantic.model_validator(mode="after")
    def _is_not_too_much(self) -> "PredictRequest":
        of_relations = sum(query.relation is None for query in self.queries)
        if of_relations > MOST_RELATION_QUERIES:
            raise ValueError(f"{of_relations} questions for relations; ask at most {MOST_RELATION_QUERIES} in a request")
        if len(self.queries) * self.k > MOST_ROWS:
            raise ValueError(
                f"{len(self.queries)} questions with k = {self.k}; ask for at most {MOST_ROWS} answers in a request"
            )
        return self

    model_config = pydantic.ConfigDict(
        json_schema_extra={"examples": [{"queries": [{"head": "France", "relation": "borders"}], "k": 5}]}
    )


class Prediction(pydantic.BaseModel):
    """A predicted fact. Scores order the answers to one question: higher is likelier. They are not probabilities."""

    rank: Annotated[int, pydantic.Field(description="1 + the candidates that score higher; equal scores share a rank.")]
    head: str
    head_label: str
    relation: str
    relation_label: str
    tail: str
    tail_label: str
    score: float
    known: Annotated[str, pydantic.Field(description="train, valid or test where the graph holds the fact, or empty.")]


class Answer(pydantic.BaseModel):
    """The best answers to one question, best first."""

    asked: Literal["head", "relation", "tail"]
    predictions: list[Prediction]


class PredictResponse(pydantic.BaseModel):
    """One answer for each question, in their order."""

    graph: str
    checkpoint: str
    messages: Annotated[str, pydantic.Field(description="Known facts that the model sees: train, or all.")]
    note: str
    answers: list[Answer]


class ExplainRequest(_Strict):
    """A fact to explain; names are ids or labels."""

    head: Name
    relation: Name
    tail: Name
    k: Annotated[int, pydantic.Field(ge=1, le=MOST_PATHS, description="Paths to show.")] = 5


class NameFound(pydantic.BaseModel):
    """An entity or a relation; `name` is what to call it: its label, or the id where several carry that label."""

    name: str
    id: str
    label: str


class Health(pydantic.BaseModel):
    """What answers, and how busy it is."""

    status: Literal["ok"]
    version: str
    graph: str
    checkpoint: str
    messages: str
    entities: int
    relations: int
    explains: Annotated[bool, pydantic.Field(description="Whether /explain is there.")]
    waiting: Annotated[int, pydantic.Field(description="Scorings that nobody works on yet.")]


class Problem(pydantic.BaseModel):
    """Why a request was not answered."""

    error: str
    suggestions: Annotated[list[str], pydantic.Field(description="Names to give instead of an unknown or ambiguous one.")] = []


Explanation = dict[str, Any]
