"""What the table must hold, said a second time and independently of the code under test.

Also the decisions and entries that the tests are made of.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.domain.exact_json import JsonNumber
from shared.domain.incident import Incident
from shared.domain.journal import Attributed, Decision, Entry, Erased, Rejected, Totals, Unattributed
from shared.domain.rfc3339 import format_rfc3339, parse_rfc3339

type Dump = dict[tuple[str, str], Mapping[str, Any]]

DAY = 86_400
# In the future: ministack deletes what has expired, every minute, as time to live says.
COMMITTED_AT = 4_000_000_000
MOMENT = "3999990000.1234567"


def make_incident(number: int, *, employee_id: str | None = None, timestamp: str = MOMENT) -> Incident:
    """An incident with an id of its own; about an IP unless it names its employee."""
    ip = None if employee_id is not None else f"10.0.{number // 256}.{number % 256}"
    subject = {"reported_by": JsonNumber(employee_id)} if employee_id is not None else {"ip": ip}
    return Incident(
        id=f"{number:032x}",
        type="denial" if employee_id is not None else "probing",
        priority=("low", "medium", "high", "critical")[number % 4],
        timestamp=timestamp,
        employee_id=employee_id,
        ip=ip,
        fields={**subject, "note": f"ünï {number}", "nested": {"of": [JsonNumber("1.10"), None, True]}},
    )


def attributed(number: int, employee_id: str = "7", timestamp: str = MOMENT) -> Attributed:
    """An incident that names its employee."""
    return Attributed(make_incident(number, employee_id=employee_id, timestamp=timestamp), employee_id)


def attributed_late(number: int, employee_id: str = "7", timestamp: str = MOMENT) -> Attributed:
    """The incident of :func:`unattributed`, whose IP has become known."""
    return Attributed(make_incident(number, timestamp=timestamp), employee_id, was_unattributed=True)


def unattributed(number: int, timestamp: str = MOMENT) -> Unattributed:
    """An incident whose IP nobody is known to have."""
    return Unattributed(make_incident(number, timestamp=timestamp))


def rejected(number: int, employee_id: str = "") -> Rejected:
    """A record that can't be an incident; it may name an employee all the same."""
    record = f'{{"employee_id":"0{employee_id}"}}' if employee_id else '{"a": "ä"}'
    return Rejected(f"{number:032x}", "misuse", "missing_field", "priority is missing or null", record)


def make_entries(*portions: Sequence[Decision], poll_id: str = "poll") -> list[Entry]:
    """Entries 1, 2, … of these decisions, a minute apart, with their totals."""
    totals = itertools.accumulate(portions, lambda sums, each: sums.after(each), initial=Totals())
    next(totals)
    return [
        Entry(
            sequence=number,
            poll_id=f"{poll_id}-{number}",
            committed_at=format_rfc3339(COMMITTED_AT + 60 * number),
            decisions=tuple(portion),
            totals=after,
            attributed_with=f"digest-{number}",
        )
        for number, (portion, after) in enumerate(zip(portions, totals, strict=True), start=1)
    ]


# Every kind of decision, an incident that waits and is resolved, one that goes on waiting.
EVERY_KIND = (
    (attributed(1), unattributed(2), unattributed(3), rejected(4)),
    (attributed(5, "10"), attributed_late(2, "3"), rejected(6)),
    (unattributed(7), attributed(8, "10", "3999990001"), attributed(9, "10", "3999990001.5")),
)


def expected_projection(entries: Iterable[Entry], days: int = 0) -> Dump:
    """What the entries lay out, the state and the journal itself left aside."""
    table: Dump = {}

    def put(pk: str, sk: str, moment: float, **attributes: Mapping[str, str]) -> None:
        expiry = {"expires_at": _number(int(moment) + (days + 2) * DAY)} if days else {}
        table[pk, sk] = {"pk": {"S": pk}, "sk": {"S": sk}, **attributes, **expiry}

    for entry in entries:
        sequence = _number(entry.sequence)
        committed_at = COMMITTED_AT + 60 * entry.sequence
        for decision in entry.decisions:
            if isinstance(decision, Erased):
                _expect_erased(table, decision, entry)
                continue
            if isinstance(decision, Rejected):
                put(f"ID#{decision.id}", "ID", committed_at, outcome={"S": "rejected"}, sequence=sequence)
                put(
                    "REJECTED",
                    decision.id,
                    committed_at,
                    type={"S": decision.type},
                    code={"S": decision.code},
                    reason={"S": decision.reason},
                    record={"S": decision.record},
                    sequence=sequence,
                    rejected_at={"S": entry.committed_at},
                )
                continue
            incident = decision.incident
            moment = float(incident.timestamp)
            outcome = "incident" if isinstance(decision, Attributed) else "unattributed"
            put(f"ID#{incident.id}", "ID", moment, outcome={"S": outcome}, sequence=sequence)
            if isinstance(decision, Unattributed):
                text = _stored_text(incident)
                put("UNATTRIBUTED", incident.id, moment, incident={"S": text}, sequence=sequence)
                continue
            put(
                "INCIDENTS",
                incident_sort_key(decision.employee_id, incident),
                moment,
                json={"S": _client_text(decision)},
                priority={"S": incident.priority},
                type={"S": incident.type},
                timestamp=_decimal(incident.timestamp),
                sequence=sequence,
            )
            if decision.was_unattributed:
                table["UNATTRIBUTED", incident.id] = {
                    **table["UNATTRIBUTED", incident.id],
                    "resolved_sequence": sequence,
                    "expires_at": _number(committed_at + 2 * DAY),
                }
    return table


def _expect_erased(table: Dump, decision: Erased, entry: Entry) -> None:
    """Nothing is left of the record but that its id was erased, and until it is settled that it was."""
    sequence = entry.sequence
    theirs = [key for key in table if key[1].endswith(decision.id) and not key[0].startswith("ID#")]
    for key in theirs:
        del table[key]
    known = table[f"ID#{decision.id}", "ID"]
    table[f"ID#{decision.id}", "ID"] = {**known, "outcome": {"S": "erased"}, "sequence": _number(sequence)}
    key = ("ERASURES", f"{sequence:020}")
    table[key] = {"pk": {"S": key[0]}, "sk": {"S": key[1]}, "committed_at": {"S": entry.committed_at}}
    if decision.traces:
        # Nothing may bring a summary of theirs back before it is settled.
        grave = ("EMPLOYEES", decision.traces.employee_id.rjust(20, "0"))
        table[grave] = {
            "pk": {"S": grave[0]},
            "sk": {"S": grave[1]},
            "generation": _number(0),
            "sequence": _number(entry.sequence),
            "expires_at": _number(int(parse_rfc3339(entry.committed_at)) + 2 * DAY),
        }


def incident_sort_key(employee_id: str, incident: Incident) -> str:
    """Fixed widths: employee of 20 digits, seconds of 10, seven decimals."""
    seconds, _, decimals = incident.timestamp.partition(".")
    return f"{employee_id.rjust(20, '0')}#{seconds.rjust(10, '0')}.{decimals.ljust(7, '0')}#{incident.id}"


def expected_state(entry: Entry) -> dict[str, Any]:
    """The state's item after ``entry``, on a table that no poll has reported to."""
    totals = {"incidents": entry.totals.incidents, "unattributed": entry.totals.unattributed}
    return {
        "pk": {"S": "STATE"},
        "sk": {"S": "STATE"},
        "projected": _number(entry.sequence),
        "committed_at": {"S": entry.committed_at},
        "totals": {"S": json.dumps(totals, separators=(",", ":"))},
        "attributed_with": {"S": entry.attributed_with},
    }


def without_journal(everything: Dump) -> Dump:
    """All but the journal's items, whose compressed content is its own."""
    return {key: item for key, item in everything.items() if key[0] != "JOURNAL"}


def expected_table(entries: Sequence[Entry], days: int = 0) -> Dump:
    """All that a table holds after the entries, but for the journal."""
    state: Dump = {("STATE", "STATE"): expected_state(entries[-1])}
    return expected_projection(entries, days) | state


def check_never_ahead(everything: Dump, entries: Sequence[Entry]) -> None:
    """The promises that hold at every moment, a poll under way or dead in the middle.

    What the state calls projected is there whole; an id that is known has its record's own item.
    """
    projected = int(everything.get(("STATE", "STATE"), {}).get("projected", {"N": "0"})["N"])
    for key in expected_projection(entries[:projected]):
        assert key in everything, f"{key} is missing, though {projected} is said to be projected"
    incident_ids = {sk.rpartition("#")[2] for pk, sk in everything if pk == "INCIDENTS"}
    for (pk, _), item in everything.items():
        record_id = pk.removeprefix("ID#")
        if record_id == pk:
            continue
        outcome = item["outcome"]["S"]
        if outcome == "erased":
            continue
        own = {"incident": record_id in incident_ids}.get(outcome, (outcome.upper(), record_id) in everything)
        assert own, f"{record_id} is known as {outcome}, but its record is not there"


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _decimal(text: str) -> dict[str, str]:
    """DynamoDB answers a number without zeros that say nothing."""
    return {"N": text.rstrip("0").rstrip(".") if "." in text else text}


def _client_text(decision: Attributed) -> str:
    """The JSON of the tests' own incidents, written by hand."""
    incident = decision.incident
    return (
        f'{{"id":"{incident.id}","employee_id":"{decision.employee_id}","type":"{incident.type}",'
        f'"priority":"{incident.priority}",{_fields_text(incident)},"timestamp":{incident.timestamp}}}'
    )


def _stored_text(incident: Incident) -> str:
    return (
        f'{{"id":"{incident.id}","type":"{incident.type}","priority":"{incident.priority}",'
        f'"timestamp":{incident.timestamp},"fields":{{{_fields_text(incident)}}},"ip":"{incident.ip}"}}'
    )


def _fields_text(incident: Incident) -> str:
    number = int(incident.id, 16)
    subject = f'"ip":"{incident.ip}"' if incident.ip else f'"reported_by":{incident.employee_id}'
    return f'{subject},"note":"\\u00fcn\\u00ef {number}","nested":{{"of":[1.10,null,true]}}'
