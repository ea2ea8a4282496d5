"""The starter: a small ACE-Step checkpoint, the synthesiser that taught it and the recipe that made it."""
