"""Twins of real music: what they keep of it, beside the base model and the codec."""
