"""What the front does for a request: store an upload, generate a track, list what there is."""
