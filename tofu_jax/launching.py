"""What every command does around its one call: flags, help, errors for people, a compilation cache, a console."""

import importlib.metadata
import importlib.util
import os
import sys
import textwrap
import types
from collections.abc import Sequence

import rich.console
from absl import app, flags, logging

from tofu_jax.errors import TofuError
from tofu_jax.huge_pages import restart_with_huge_pages
from tofu_jax.user_cache import user_cache

_HELP = {"-h", "-help", "--help"}
_WIDTH = 100


def run(command: types.ModuleType) -> None:
    """Runs a command with the arguments of this process (`sys.argv`), and exits with its code.

    The code is what `main` returns (None: 0), 1 for an error that the user can act on, and 2 for a command line that cannot
    be understood; either is printed in a line or two, without a traceback.

    Args:
      command: a module of `tofu_jax.commands`, or the main module.
    """
    if _HELP & set(sys.argv[1:]):
        print(_help(command))
        return
    restart_with_huge_pages()
    cache_compilations()
    compile_faster()
    try:
        argv = _parse_flags()
        logging.set_verbosity(logging.FATAL)  # Orbax tells each of its steps otherwise, and each error with a traceback
        code = command.main(argv)
    except (flags.Error, app.UsageError) as error:
        print(f"error: {error}\n`{sys.argv[0]} --help` shows examples and flags.", file=sys.stderr)
        code = 2
    except TofuError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
        if _is_one_of_several():
            # An orderly end would wait for the others, and they for this process, which takes no further part.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


def arguments(argv: Sequence[str], *names: str) -> list[str]:
    """The arguments of a command that are no flags.

    Args:
      argv: what `main` was called with: the program and those arguments.
      names: what they are, for the message.

    Raises:
      UsageError: there are more or fewer.
    """
    given = list(argv[1:])
    if len(given) != len(names):
        wanted = " ".join(f"<{name}>" for name in names) or "nothing but flags"
        raise app.UsageError(f"expected {wanted}, got {' '.join(map(repr, given)) or 'nothing'}.")
    return given


def console(quiet: bool = False) -> rich.console.Console:
    """The terminal, or plain text of 100 columns where there is none; quiet: shows nothing."""
    terminal = rich.console.Console(quiet=quiet)
    return terminal if terminal.is_terminal else rich.console.Console(width=_WIDTH, quiet=quiet)


def cache_compilations() -> None:
    """Keeps compiled programs in the user's cache folder, so that a second run starts at once; call before JAX is imported.

    JAX_COMPILATION_CACHE_DIR names another folder; an empty value turns the cache off.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(user_cache("compiled")))
    # All of them, also the small ones: a command needs dozens, of 50 ms each.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def compile_faster() -> None:
    """Has XLA compile for CPUs by its older way of fusing operations; call before JAX is imported.

    A training step is compiled in about half of the time and runs as fast, and its machine code lies in fewer pieces: of these
    Linux allows a process 65,530 (vm.max_map_count), which training on graphs of many sizes would reach. Where XLA_FLAGS says
    something about it, that holds.
    """
    # XLA ends a process that sets a flag it does not know: only where this one is known, and no TPU brings an XLA of its own.
    known = importlib.metadata.version("jaxlib") == "0.10.2" and importlib.util.find_spec("libtpu") is None
    # Messages along edges that XLA compiles, not our C++, would be a quarter slower.
    if known and importlib.util.find_spec("tofu_jax.ops.compiled._kernels"):
        os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}".strip()


def _is_one_of_several() -> bool:
    """Whether this process has joined others (`training.parallel`)."""
    jax = sys.modules.get("jax")  # a command that has not got as far as importing it has joined nobody
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1


def _parse_flags() -> list[str]:
    """Sets the flags; returns the program and what is no flag, which may stand before, between and after flags."""
    flags.FLAGS.set_gnu_getopt()
    try:
        return flags.FLAGS(sys.argv)
    except AttributeError as error:
        unknown = error.args[0] if error.args else None
        if isinstance(unknown, KeyError):  # how ml_collections answers to a mistyped --config.<field>
            raise flags.Error(f"the configuration has no field {unknown.args[0]}") from error
        raise


def _help(command: types.ModuleType) -> str:
    """The docstring of a command and its own flags, in the order in which they are defined; none of absl's."""
    flags.FLAGS.mark_as_parsed()
    lines = [command.__doc__.strip(), "", "flags:"]
    module = sys.argv[0] if command.__name__ == "__main__" else command.__name__  # absl's name of the main module
    for flag in flags.FLAGS.flags_by_module_dict().get(module, []):
        form = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}=<…>"
        default = "" if flag.default is None else f" Default: {flag.default_as_str.strip(chr(39))}."
        lines.append(f"  {form}{'  (required)' if _is_required(flag) else ''}")
        lines += textwrap.wrap(flag.help + default, _WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _is_required(flag: flags.Flag) -> bool:
    """Whether the default does not pass the flag's own validators."""
    try:
        for validator in flag.validators:
            validator.verify(flags.FLAGS)
    except flags.ValidationError:
        return True
    return False
