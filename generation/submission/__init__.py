"""Tracks that are made after the answer to their request, by whichever process takes them up."""
