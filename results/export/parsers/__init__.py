"""The targets' own parsers, where they are installed."""
