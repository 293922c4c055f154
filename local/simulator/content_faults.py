"""Ways to answer with bad content: the usual body with some of its records, or of its identities, changed.

What is not meant stays as it is, to the digit: records are changed as text, never parsed. Each function here
makes a `Fault`, or the `change` that one of them takes; on a body of the other kind it changes nothing.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from local.simulator.faults import Fault, mangled

type Change = Callable[[str], str]

# Whom a record is about stands under another name in each type; `WHO` means whichever it is.
WHO: Final = "reported_by|internal_ip|machine_ip|employee_id|ip|identifier"

# Records and identities have no objects within.
_RECORD: Final = re.compile(r"\{[^{}]*\}")
_IDENTITY: Final = re.compile(r'"[^"]*": [^,}]+')
_START: Final = '{"results": ['


def records(change: Callable[[list[str]], Iterable[str]]) -> Fault:
    """Serve other records: `change` gets the usual ones, from old to new, each as the text of its object."""

    def rewrite(text: str) -> str:
        if not text.startswith(_START):
            return text
        return f"{_START}{', '.join(change(_RECORD.findall(text, len(_START))))}]}}\n"

    return _rewritten("other records", rewrite)


def newest(change: Change) -> Fault:
    """Serve the usual records, but for the newest one."""
    return records(lambda usual: [*usual[:-1], *map(change, usual[-1:])])


def every(change: Change) -> Fault:
    """Serve other records, each made from a usual one."""
    return records(lambda usual: map(change, usual))


def identities(change: Callable[[list[str]], Iterable[str]]) -> Fault:
    """Serve other identities: `change` gets the usual ones, each as text, such as `"17.0.0.1": 42`."""

    def rewrite(text: str) -> str:
        if text.startswith(_START):
            return text
        return f"{{{', '.join(change(_IDENTITY.findall(text)))}}}\n"

    return _rewritten("other identities", rewrite)


def setting(field: str, json: str) -> Change:
    """Give a field (or `WHO`) another value: the text of one, JSON or not."""
    pattern = re.compile(rf'("(?:{field})": )("[^"]*"|[^,}}]+)')
    return lambda record: pattern.sub(lambda found: found[1] + json, record)


def adding(members: str) -> Change:
    """Put more members at an object's end, such as `"score": 5`."""
    return lambda record: f"{record[:-1]}, {members}}}"


def repeating(field: str, json: str) -> Change:
    """Say a field (or `WHO`) a second time, with another value."""
    name = re.compile(rf'"(?:{field})"')

    def change(record: str) -> str:
        found = name.search(record)
        return adding(f"{found[0]}: {json}")(record) if found else record

    return change


def lacking(field: str) -> Change:
    """Leave a field (or `WHO`) out."""
    pattern = re.compile(rf'"(?:{field})": ("[^"]*"|[^,}}]+)(, )?')
    return lambda record: pattern.sub("", record).replace(", }", "}")


def adding_seconds(seconds: int) -> Change:
    """Move a record's timestamp; its decimals stay."""
    pattern = re.compile(r'("timestamp": )(\d+)')
    return lambda record: pattern.sub(lambda found: f"{found[1]}{int(found[2]) + seconds}", record)


def _rewritten(description: str, rewrite: Callable[[str], str]) -> Fault:
    return mangled(description, lambda body: rewrite(body.decode()).encode())
