"""The delivery of a finished track: its bit depth, loudness and loop, and the file that holds it."""
