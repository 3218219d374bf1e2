"""One request inside a replica: how far its prompt is computed and what it has produced."""

from objectives import Request


class Sequence:
    """Mutable state of a request from its arrival to its last token."""

    __slots__ = (
        "arrival_s",
        "computed",
        "decoding",
        "finish_s",
        "finish_step",
        "first_token_s",
        "groups",
        "index",
        "kv_base",
        "order",
        "outputs",
        "preemptions",
        "request",
        "target",
    )

    def __init__(self, index: int, request: Request, arrival_s: float) -> None:
        self.index = index
        self.request = request
        self.arrival_s = arrival_s
        self.first_token_s: float | None = None
        self.finish_s: float | None = None
        self.preemptions = 0
        self.outputs = 0
        self.target = request.input_tokens
        """Tokens to compute before the next output: the prompt, after a preemption also what had
        been produced."""
        self.computed = 0
        self.groups = 0
        """Leading prefix groups held in the shared cache."""
        self.decoding = False
        self.order = -1
        self.kv_base = 0
        self.finish_step = -1

    @property
    def urgency(self) -> tuple[int, float, int]:
        """Order under the priority policy: lower is served first and preempted last."""
        return self.request.priority, self.arrival_s, self.index
