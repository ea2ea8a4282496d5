"""The local tagger: words for a segment, by two small networks that ship with the service."""
