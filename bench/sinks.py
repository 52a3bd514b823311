"""Ends of a pipe: where a benchmark's archive goes."""


class DiscardingSink:
    """A ByteSink that only counts."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def complete(self, head: bytes = b"") -> None:
        self.size += len(head)

    def abort(self) -> None:
        self.size = 0
