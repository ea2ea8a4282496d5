"""The starters: a small trained checkpoint for each backend, made by recipes.first_edition."""
