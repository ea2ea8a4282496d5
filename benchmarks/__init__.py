"""Measurements that docs/ quotes; each is a command of its own and none is a test."""
