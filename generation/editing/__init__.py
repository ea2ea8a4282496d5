"""Tracks that start from a recording: finding and decoding it, the window that is made anew, and the splice."""
