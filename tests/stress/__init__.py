"""Long runs that assert: each is a command of its own, `python -m tests.stress.<name>`."""
