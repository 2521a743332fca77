"""The tables of this package as text, for docs/lwm2m-updates.md."""

from collections.abc import Iterable

from overair.protocols.lwm2m.updating.layout import SOFTWARE_MANAGEMENT, result_of
from overair.protocols.lwm2m.updating.model import Timers
from overair.protocols.lwm2m.updating.results import RULES, TROUBLE
from overair.protocols.lwm2m.updating.states import FINAL, TABLE, Event, Phase

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


def state_diagram() -> str:
    """The phases and what moves a job between them, in Mermaid; every phase can also fail."""
    arrows = [
        f"    {_id(phase)} --> {_id(after)}: {event}"
        for (phase, event), after in TABLE.items()
        if event is not Event.FAILED
    ]
    ends = [f"    {_id(phase)} --> [*]" for phase in Phase if phase in FINAL]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {_id(Phase.QUEUED)}", *arrows, *ends])


def result_table() -> str:
    """What becomes of an attempt by its result."""
    rows = [
        (str(result), _software(result), rule.detail, _pauses(rule.pauses_minutes))
        for result, rule in RULES.items()
        if result < TROUBLE
    ]
    return _table(("Result", "Object 9", "Failure detail", "Tried again after"), rows)


def timer_table() -> str:
    """The limits and their defaults."""
    timers = Timers()
    rows = [(f"`{name}`", _span(getattr(timers, name))) for name in timers.__struct_fields__]
    return _table(("Limit", "Default"), rows)


def _id(phase: Phase) -> str:
    return phase.value


def _software(result: int) -> str:
    codes = [code for code in range(50, 60) if result_of(SOFTWARE_MANAGEMENT, code) == result]
    return ", ".join(map(str, codes))


def _pauses(minutes: tuple[int, ...]) -> str:
    if not minutes:
        return "never"
    return ", ".join("at once" if each == 0 else f"{each} min" for each in minutes)


def _span(milliseconds: int) -> str:
    unit, name = next(each for each in _UNITS if milliseconds % each[0] == 0)
    return f"{milliseconds // unit} {name}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
