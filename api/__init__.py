"""The edge of the service: what happens to every request before and after the code that serves it."""
