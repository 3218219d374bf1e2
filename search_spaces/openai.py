"""The space of a server that someone else started: nothing of it can be turned."""

from search_spaces.space import SearchSpace


def openai_space() -> SearchSpace:
    """No knobs; what varies there is the load alone."""
    return SearchSpace(engine="openai", knobs=(), searched={}, fixed={}, derive=lambda config: {})
