"""Recipes: short grains to copy. `docs/how-to/` has a page for each, and a test runs each."""
