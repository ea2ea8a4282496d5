"""Runs functions on untrusted bytes in child processes with limits.

A few bytes can make libraries that parse audio, archives or tensors loop or take all memory. Each call therefore runs
in a child process of its own, with limits on memory, processor time and duration. The child is forked from a template
process that has the libraries loaded, and ends with the call, whether that returned, failed or was cancelled.
"""

from core.sandbox.client import Sandbox
from core.sandbox.messages import Exceeded, Limits

__all__ = ["Exceeded", "Limits", "Sandbox"]
