"""Memory that tensors leave is kept while there is work, and given back when there is none."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from core.settings import ROOT

# In a process of its own, since it cannot be undone; in a thread, as models work in one.
_SCRIPT = """
import json, resource, threading
from models import malloc
malloc.keep_freed_memory()
import numpy, psutil

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def pass_():
    before = faults()
    for _ in range(8):
        numpy.ones(100 * 2**20, numpy.uint8)
    return faults() - before

def work():
    first, second = pass_(), pass_()
    kept = psutil.Process().memory_info().rss
    malloc.trim()
    print(json.dumps([first, second, kept - psutil.Process().memory_info().rss]))

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc")
def test_memory_is_kept_and_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, given = json.loads(done.stdout)
    assert second < first / 10
    assert given > 90 * 2**20
