"""A narrator that remembers what it was told."""

from demesh.demo.nodes import DemoNode
from demesh.demo.phone import Call


class Told:
    def __init__(self) -> None:
        self.happenings: list[str] = []
        self.waited: set[str] = set()
        self.calls: list[Call] = []

    def title(self, text: str) -> None:
        pass

    def tell(self, text: str) -> None:
        pass

    def happened(self, text: str, seconds: float) -> None:
        self.happenings.append(text)

    def waiting(self, text: str, seconds: float) -> None:
        self.waited.add(text)

    def phone(self, call: Call) -> None:
        self.calls.append(call)

    def look(self, node: DemoNode) -> None:
        pass
