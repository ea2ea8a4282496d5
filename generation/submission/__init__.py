"""Submitted tracks: the answer has a track's id, and a process makes the track afterwards."""
