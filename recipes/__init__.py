"""How the shipped checkpoints were made. Not part of the service."""
