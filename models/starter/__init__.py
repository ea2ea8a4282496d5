"""The starters: a small checkpoint a backend, made by recipes.first_edition."""
