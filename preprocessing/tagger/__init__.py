"""The local tagger: what is heard in a segment, by two small networks that ship with the service."""
