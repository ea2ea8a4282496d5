"""Template processes: a template imports libraries once, and forks a child for each piece of work.

A child starts within milliseconds where a new process would import for seconds. A template has one thread and opens no
device, since neither a thread nor a CUDA context survives a fork.
"""

from core.template.client import Child, Template

__all__ = ["Child", "Template"]
