"""How a request breaks the rules of the protocol (spec ddi.md, section 7)."""


class Malformed(ValueError):
    """A body that breaks a rule: ``field`` names the place, ``rule`` says what must hold there."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class TooMany(Exception):
    """A quota is used up; the message says which."""
