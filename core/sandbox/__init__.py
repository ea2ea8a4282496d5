"""Runs a function on bytes that a stranger sent, in a process that can be killed.

Libraries that parse audio, archives and tensors can be made to loop or to take all memory by a few bytes. Each call
has a child process of its own, forked from a template that has the libraries loaded, with limits on its memory, its
processor time and its duration. The child ends with the call, whether that was answered, cancelled or given up.
"""

from core.sandbox.client import Sandbox
from core.sandbox.messages import Exceeded, Limits

__all__ = ["Exceeded", "Limits", "Sandbox"]
