"""A program asks for huge pages once, keeps its arguments, and leaves a user's own setting alone."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from tofu_jax.huge_pages import restart_with_huge_pages
restart_with_huge_pages()
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], sys.flags.utf8_mode)
"""


def run(path, **variables):
    path.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | variables
    process = subprocess.Popen(
        [sys.executable, "-X", "utf8=1", str(path), "--name=a b", "ü"], env=environment, stdout=subprocess.PIPE, text=True
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    number, rest = out.strip().split(" ", 1)
    assert int(number) == process.pid
    return rest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_restarts_with_the_same_arguments(tmp_path):
    assert run(tmp_path / "program.py") == "glibc.malloc.hugetlb=1 ['--name=a b', 'ü'] 1"


def test_leaves_a_setting_alone(tmp_path):
    assert run(tmp_path / "program.py", GLIBC_TUNABLES="") == " ['--name=a b', 'ü'] 1"
