"""What is freed stays mapped: shown in a process of its own, for the setting is for all of a process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading
from mismo_grpc.separation.allocator import keep_freed_memory

def work():
    for _ in range(20):
        b'x' * (40 * 2**20)  # above the largest threshold that glibc adapts itself

print(keep_freed_memory() if sys.argv[1] == "keep" else False)
for round in range(2):  # the first one warms up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(manner: str, **environment: str) -> tuple[bool, int]:
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, manner],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_a_block_that_was_freed_costs_no_page_faults_when_it_comes_again() -> None:
    _, default = run("leave")
    kept, faults = run("keep")
    assert kept
    assert faults < default / 10, "20 blocks of 10240 pages"


def test_settings_of_the_environment_stay_as_they_are() -> None:
    kept, _ = run("keep", MALLOC_TOP_PAD_="4096")
    assert not kept
