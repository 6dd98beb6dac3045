"""A socket, an event loop, and an orderly end."""

import ipaddress
import signal
import socket

import uvicorn

from tofu_jax.errors import DataError
from tofu_jax.inference.predict import GraphPredictor
from tofu_jax.inference.queries import Query
from tofu_jax.serving.app import Explain, Service, create_app
from tofu_jax.serving.batching import Batcher

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_MOST_CONNECTIONS = 512
_SHUTDOWN_S = 30


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(host: str, port: int) -> socket.socket:
    """Binds an address; nobody can connect before `serve` listens.

    Args:
      host: a name or an IPv4 or IPv6 address of this machine.
      port: 0 for any that is free.

    Raises:
      DataError: the address is none of this machine's, or the port is taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{host}:{port} cannot be opened ({reason}); choose another --host or --port.") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where to reach a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(
    predictor: GraphPredictor, listener: socket.socket, explain: Explain | None, timeout_s: float, most_scorings: int = 64
) -> None:
    """Answers until SIGINT or SIGTERM; then requests under way are answered, and this returns.

    Args:
      predictor: of the graph.
      listener: bound, by `open_socket`.
      explain: see `app.Service`.
      timeout_s: for an answer.
      most_scorings: see `Batcher`.
    """
    host = listener.getsockname()[0]
    batcher = Batcher(predictor, most_scorings)
    app = create_app(Service(predictor, batcher, explain, timeout_s), _LOCAL_NAMES if is_loopback(host) else None)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # questions may be nobody else's business
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
    )
    # uvicorn raises a signal once more, when it is done, for the handlers that were there before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])


def warm_up(predictor: GraphPredictor) -> None:
    """Compiles what answers need: for one question, and for several at once."""
    entity, relations = predictor.graph.entities[0], predictor.graph.relations
    predictor.answer([Query(entity, relations[0], None)], k=1)
    predictor.answer([Query(entity, relation, None) for relation in relations[:2]] + [Query(None, relations[0], entity)], k=1)
    others = predictor.graph.entities[:2]
    predictor.answer([Query(name, relation, None) for relation in relations[:2] for name in others], k=1)
