"""How often a claimed gain is none, a real one is found, and an interval holds the truth."""
