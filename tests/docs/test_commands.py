"""Every command that README and documentation name: there is such a program, and it has these flags and fields."""

import ast
import functools
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
PROGRAMS = ("tofu-jax", "python", "make", "curl", "pip")
_LEADING = re.compile(r"^(\$ )?(\.venv/bin/)?")
# Every field of a configuration, "batch.heads" for one of a part.
_FIELD = re.compile(r"--config\.([\w.]+)")


def commands_of(text):
    """The lines of a block that call one of PROGRAMS, as words; continued lines are joined, here documents left out."""
    text = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        line = _LEADING.sub("", line.strip())
        if line.split(" ")[0] in PROGRAMS:
            yield shlex.split(line, comments=True)


@functools.cache
def flags_of_verb(verb):
    """Flags of a command as its --help lists them."""
    command = [sys.executable, "-m", "tofu_jax", verb.replace("_", "-"), "--help"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^  --(\[no\])?(\w+)", done.stdout, re.MULTILINE)
    return {name for _, name in names}, {name for negatable, name in names if negatable}


@functools.cache
def flags_of_benchmark(path):
    """Flags that a script defines: all, and those that may be negated."""
    found, negatable = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("DEFINE_"):
            found.add(node.args[0].value)
            negatable.update({node.args[0].value} if node.func.attr.startswith("DEFINE_bool") else ())
    return found, negatable


def module_of(words):
    """The file that defines the flags of a command, and its arguments; None where it has no flags of ours."""
    program, *rest = words
    if program == "tofu-jax" and rest and not rest[0].startswith("-"):
        return ROOT / "tofu_jax" / "commands" / f"{rest[0].replace('-', '_')}.py", rest[1:]
    if program == "python" and rest and rest[0].startswith("launch/"):
        (verb,) = re.findall(r"from tofu_jax\.commands import (\w+)", (ROOT / rest[0]).read_text())
        return ROOT / "tofu_jax" / "commands" / f"{verb}.py", rest[1:]
    if program == "python" and rest and rest[0].startswith("benchmarks/"):
        return ROOT / rest[0], rest[1:]
    return None, rest


def check_config(words):
    """A configuration that is named exists, and has the fields that are set."""
    for word in words:
        if word.startswith("--config=") and "<" not in word.split(":")[0]:
            path, _, argument = word.removeprefix("--config=").partition(":")
            make = runpy.run_path(str(ROOT / path))["get_config"]
            config = make(argument) if argument else make()
            for name in (match.group(1) for match in map(_FIELD.match, words) if match):
                config.get_ref(name) if "." not in name else getattr(config[name.split(".")[0]], name.split(".", 1)[1])


def check_command(words):
    path, arguments = module_of(words)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(arguments) <= set(targets), words
    if path is None:
        return
    assert path.is_file(), f"there is no {path.relative_to(ROOT)}: {words}"
    found, negatable = flags_of_verb(path.stem) if path.parent.name == "commands" else flags_of_benchmark(path)
    for argument in arguments:
        name = argument.split("=")[0].removeprefix("--")
        if argument.startswith("--") and name != "help":
            known = name in found or name.removeprefix("no") in negatable or (name.startswith("config.") and "config" in found)
            assert known, f"{path.stem} has no flag --{name}"
    check_config(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page(blocks, page):
    found = [words for block in blocks(page) if block.language in ("", "sh", "bash") for words in commands_of(block.text)]
    for words in found:
        check_command(words)
    if page == "README.md":
        assert len(found) >= 5


@pytest.mark.parametrize(
    "command",
    [
        "tofu-jax zero-shoot --graph=x",
        "tofu-jax predict --grph=x",
        "tofu-jax predict --nok --graph=x",
        "make everything",
        ".venv/bin/python launch/pretrain.py --config=configs/debug.py --config.stepz=1",
        "python launch/pretrain.py --config=configs/none.py",
        "python benchmarks/prompts.py \\\n --graph=x",
    ],
)
def test_a_wrong_command_is_found(command):
    (words,) = commands_of(command)
    with pytest.raises((AssertionError, AttributeError, KeyError, FileNotFoundError)):
        check_command(words)


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"^ *- (?:.*: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(f"docs/{name}" for name in listed) == [page for page in PAGES if page.startswith("docs/")]
