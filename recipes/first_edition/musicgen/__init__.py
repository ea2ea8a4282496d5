"""The MusicGen starter: EnCodec with learned codebooks, a small T5 encoder and the delayed-codebook decoder."""
