"""Files that production servers start from."""
