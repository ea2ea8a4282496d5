"""The starters' training music: public-domain scores and our own songs, played on sampled instruments."""
