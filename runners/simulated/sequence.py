"""One request inside a replica: how far its prompt is computed and what it has produced."""

from objectives import Request


class Sequence:
    """Mutable state of a request from its arrival to its last token."""

    __slots__ = (
        "arrival_s",
        "computed",
        "decoding",
        "finish_s",
        "first_token_s",
        "groups",
        "index",
        "outputs",
        "preemptions",
        "request",
        "reserved",
    )

    def __init__(self, index: int, request: Request, arrival_s: float) -> None:
        self.index = index
        self.request = request
        self.arrival_s = arrival_s
        self.first_token_s: float | None = None
        self.finish_s: float | None = None
        self.preemptions = 0
        self.outputs = 0
        self.computed = 0
        self.reserved = 0
        """Tokens for which KV blocks were taken at admission; they may be more than computed."""
        self.groups = 0
        """Leading prefix groups held in the shared cache."""
        self.decoding = False

    @property
    def target(self) -> int:
        """Tokens to compute before the next output: the prompt and what has been produced."""
        return self.request.input_tokens + self.outputs

    @property
    def urgency(self) -> tuple[int, float, int]:
        """Order under the priority policy: lower is served first and preempted last."""
        return self.request.priority, self.arrival_s, self.index
