"""The one error of the records, and the rules that callers tell apart (spec api-v3.md 1)."""

NOT_JSON = "must be JSON"
EMPTY_BODY = "must not be empty"
TOO_DEEP = "must not nest so deeply"
REQUIRED = "is required"
LIST_EMPTY = "must have at least 1 entry"
LIST_TOO_LONG = "must have at most 1000 entries"
UNICODE_RULE = "must not hold half a surrogate pair"
DEVICE_ID_RULE = "must be 15 digits"
PROTOCOL_RULE = "must be LWM2M, OMADM, HTTP or NONE"
T1_RULE = "must be a time like 2021-06-03 00:03:56.079 +0000 UTC"
T2_RULE = "must be a time like 2012-04-23T18:25:43.511Z"
DATE_RULE = "must be a date like 2025-07-07"
TIME_RANGE_RULE = "must be within the years 0001 to 9999"


class RecordError(ValueError):
    """Bytes or values that no record allows.

    ``path`` is the place, in the names of the wire (``deviceList[3].softwareList[0].version``), and empty
    for the body as a whole; ``rule`` is what was broken there (``must be 15 digits``). The offending value
    itself is never quoted: it may be a password.
    """

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(path, rule)
        self.path = path
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.path or 'the body'} {self.rule}"
