"""Every key of the table. Fixed widths make DynamoDB's byte order the order that readers are promised."""

JOURNAL = "JOURNAL"
INCIDENTS = "INCIDENTS"
UNATTRIBUTED = "UNATTRIBUTED"
REJECTED = "REJECTED"
ERASURES = "ERASURES"
IDENTITIES = "IDENTITIES"
EMPLOYEES = "EMPLOYEES"
SUMMARY = "SUMMARY"

type Key = tuple[str, str]

STATE_KEY: Key = ("STATE", "STATE")
CURSOR_KEYS_KEY: Key = ("CURSOR_KEYS", "CURSOR_KEYS")
NOTIFIED_KEY: Key = ("NOTIFIED", "NOTIFIED")
IDENTITIES_KEY: Key = (IDENTITIES, "LATEST")

EMPLOYEE_WIDTH = 20
SECONDS_WIDTH = 10
SEQUENCE_WIDTH = 20
DECIMALS = 7


def journal_key(sequence: int) -> Key:
    """The key of one journal entry."""
    return JOURNAL, f"{sequence:0{SEQUENCE_WIDTH}}"


def erasure_key(sequence: int) -> Key:
    """The key of an entry that erases and is not settled yet."""
    return ERASURES, journal_key(sequence)[1]


def record_key(record_id: str) -> Key:
    """The key of what became of one record."""
    return f"ID#{record_id}", "ID"


def digests_key(incident_type: str) -> Key:
    """The key of a source's digests."""
    return f"SOURCE#{incident_type}", "DIGESTS"


def employee_key(employee_id: str) -> Key:
    """The key of what is kept of one employee's incidents all together."""
    return EMPLOYEES, f"{employee_id:0>{EMPLOYEE_WIDTH}}"


def overview_key(sequence: int) -> Key:
    """The key of the overview as of an entry: two items take turns, so that the one before stays readable."""
    return SUMMARY, str(sequence % 2)


def incident_key(employee_id: str, timestamp: str, incident_id: str) -> Key:
    """The key of one incident: by employee, then by (timestamp, id)."""
    return INCIDENTS, f"{employee_id:0>{EMPLOYEE_WIDTH}}#{padded_timestamp(timestamp)}#{incident_id}"


def padded_timestamp(timestamp: str) -> str:
    """``"1500020421.9333"`` → ``"1500020421.9333000"``: text whose byte order is the order in time."""
    seconds, _, decimals = timestamp.partition(".")
    return f"{seconds:0>{SECONDS_WIDTH}}.{decimals:0<{DECIMALS}}"


def employee_of(sort_key: str) -> str:
    """The employee id in an incident's sort key, without its padding."""
    return sort_key[:EMPLOYEE_WIDTH].lstrip("0") or "0"


def before_employee(employee_id: str) -> str:
    """A sort key below all incidents of the employee and above all of those that come earlier."""
    return f"{employee_id:0>{EMPLOYEE_WIDTH}}#"


def after_incident(sort_key: str) -> str:
    """A sort key above this one and below all later ones, which are as long."""
    return f"{sort_key}!"


def after_employee(employee_id: str) -> str:
    """A sort key above all incidents of the employee ("$" follows "#") and below all later ones."""
    return f"{employee_id:0>{EMPLOYEE_WIDTH}}$"
