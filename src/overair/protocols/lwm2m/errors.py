"""The two errors of this package: a payload that does not decode, a registration that is refused."""


class ContentError(ValueError):
    """Payload, path or value breaks a rule of its format.

    `where` names the path or place in the payload, `rule` says what must hold there.
    """

    def __init__(self, where: str, rule: str) -> None:
        super().__init__(f"{where}: {rule}")
        self.where = where
        self.rule = rule


BAD_REQUEST = 0x80  # 4.00
PRECONDITION_FAILED = 0x8C  # 4.12
REQUEST_ENTITY_TOO_LARGE = 0x8D  # 4.13


class RegistrationError(Exception):
    """A Register or Update that must be answered with an error (spec lwm2m.md 3.3, 3.4).

    `code` is the CoAP code number (0x80 = 4.00), `reason` names the parameter and its rule.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code >> 5}.{code & 0x1F:02d} {reason}")
        self.code = code
        self.reason = reason
