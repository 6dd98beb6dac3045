"""Code blocks of the documentation."""

import pathlib
import re
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A code block; `language` is "" where none is named."""

    file: str
    language: str
    text: str


@pytest.fixture(scope="session")
def blocks():
    """blocks(file below the root): its code blocks in their order."""

    def read(file):
        return [Block(file, *found) for found in _BLOCK.findall((ROOT / file).read_text(encoding="utf-8"))]

    return read
