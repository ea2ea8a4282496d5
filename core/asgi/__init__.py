"""ASGI middleware and responses that the front, the runners and the training service share."""
