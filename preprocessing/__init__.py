"""From what a train request names to a dataset: fetch, decode, segment, tag, caption. No model is needed for it."""
