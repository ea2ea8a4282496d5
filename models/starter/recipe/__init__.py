"""How the starter was made: one command a stage, see `python -m models.starter.recipe --help`."""
