"""Huge pages for large arrays.

Message passing gathers rows from arrays of many megabytes; with pages of 4 KiB most rows cost a miss in the table of pages.
Where the kernel gives huge pages to those who ask (the usual setting, "madvise"), the C library asks for them if it is told to
before a program starts.
"""

import os
import platform
import sys

VARIABLE = "GLIBC_TUNABLES"
_SETTING = "glibc.malloc.hugetlb=1"


def restart_with_huge_pages() -> None:
    """Starts this program again, once, with the C library asking for huge pages; call before anything else is done.

    Does nothing where the user has set GLIBC_TUNABLES (an empty value turns this off), and where there is no glibc.
    """
    if VARIABLE in os.environ or sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    os.environ[VARIABLE] = _SETTING
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
