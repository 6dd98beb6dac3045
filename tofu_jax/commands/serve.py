"""Answer questions about a graph over HTTP, and show a page to ask them on.

    tofu-jax serve --graph=countries
    tofu-jax serve --graph=<folder or name> --checkpoint=runs/mix --port=8080
    curl localhost:8000/predict -H 'Content-Type: application/json' \\
        -d '{"queries": [{"head": "France", "relation": "borders"}], "k": 5}'

Needs `pip install tofu_jax[serve]`. /openapi.json describes all requests. Only programs on this machine can connect, unless
--host names another address of it; there is no login and no encryption, so put a proxy that has both before a service that
others are to reach. Requests that come together are answered together. Ctrl-C or SIGTERM answers what is under way, then stops.
"""

from absl import flags

from tofu_jax import launching
from tofu_jax.command_flags import GraphFlags, ModelFlags
from tofu_jax.errors import DataError

GRAPH, MODEL = GraphFlags(keep_unseen_entities=True), ModelFlags()
MESSAGES = flags.DEFINE_enum(
    "messages", "train", ["train", "all"], "Facts that the model sees: those of the training split, or all of them."
)
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
PORT = flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any.", lower_bound=0, upper_bound=65535)
TIMEOUT_S = flags.DEFINE_float("timeout_s", 60.0, "Longest time for an answer, in seconds.", lower_bound=0.1)


def main(argv) -> None:
    launching.arguments(argv)
    try:
        from tofu_jax.serving.server import is_loopback, open_socket, serve, url_of, warm_up
    except ModuleNotFoundError as error:
        raise DataError(
            f"{error.name} is not installed; `pip install tofu_jax[serve]` installs what this command needs."
        ) from error

    listener = open_socket(HOST.value, PORT.value)  # before minutes are spent on the graph

    from tofu_jax.ops.relational import describe_backend

    console = launching.console()
    graph = GRAPH.load()
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    console.print(describe_backend(), highlight=False)
    pretrained = MODEL.load(graph)
    predictor = pretrained.predictor(graph, MESSAGES.value, MODEL.modalities)
    warm_up(predictor)
    if not is_loopback(listener.getsockname()[0]):
        console.print(
            "WARNING: whoever can reach this machine can ask. There is no login and no encryption here.", style="bold red"
        )
    console.print(f"serving {graph.name} with {pretrained.source} on {url_of(listener)}", highlight=False, soft_wrap=True)

    def explain(head: str, relation: str, tail: str, k: int) -> dict:
        asked = {"head": head, "relation": relation, "tail": tail, "k": k, "messages": MESSAGES.value}
        return pretrained.explain(graph, **asked).to_dict()

    serve(predictor, listener, explain, TIMEOUT_S.value)
    console.print("stopped", highlight=False)
