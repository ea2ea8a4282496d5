"""Preprocessing: from the files of a train request to a dataset. Fetch, decode, analyse, cut, tag and caption."""
