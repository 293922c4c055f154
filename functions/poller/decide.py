"""What a poll decides about the records that it has not seen before."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from shared.domain.attribution import Identities, attribute
from shared.domain.incident import Incident
from shared.domain.journal import Attributed, Decision, Unattributed
from shared.domain.window import Window


def decide(
    windows: Iterable[Window],
    *,
    new_ids: Collection[str],
    waiting: Iterable[Incident],
    identities: Identities | None,
) -> list[Decision]:
    """One decision for each record whose id is new, and one for each ``waiting`` one that can go on.

    Whether a record is new is a matter of its id alone, never of its employee: the first attribution is
    final. The incidents come in the order of time, in which readers of the journal get them.
    """
    decisions: list[Decision] = []
    new: list[Incident] = []
    for window in windows:
        decisions += [each for each in window.rejected.values() if each.id in new_ids]
        new += [each for each in window.incidents.values() if each.id in new_ids]
    for incident in _in_order(new):
        employee_id = attribute(incident, identities)
        decisions.append(Attributed(incident, employee_id) if employee_id else Unattributed(incident))
    for incident in _in_order(waiting):
        if employee_id := attribute(incident, identities):
            decisions.append(Attributed(incident, employee_id, was_unattributed=True))
    return decisions


def _in_order(incidents: Iterable[Incident]) -> Sequence[Incident]:
    return sorted(incidents, key=lambda each: (Decimal(each.timestamp), each.id))
