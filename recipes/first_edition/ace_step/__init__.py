"""The ACE-Step starter: Oobleck codec, Qwen3 text encoder, condition encoder and diffusion transformer."""
