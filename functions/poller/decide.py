"""What a poll decides about the records that it has not seen before."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from itertools import islice

from shared.domain.attribution import Identities, attribute
from shared.domain.incident import Incident
from shared.domain.journal import Attributed, Decision, Unattributed
from shared.domain.window import Window

# A source that serves rubbish without end must not keep incidents waiting, nor fill the table with it.
MAX_REJECTED_A_SOURCE = 1_000


def decide(
    windows: Iterable[Window],
    *,
    new_ids: Collection[str],
    waiting: Iterable[Incident],
    identities: Identities | None,
) -> list[Decision]:
    """One decision for each record whose id is new, and one for each ``waiting`` one that can go on.

    Whether a record is new is a matter of its id alone, never of its employee: the first attribution is
    final. The incidents come first and in the order of time, in which readers of the journal get them; of
    each source's rejected records the first thousand are decided on, the others by later polls.
    """
    decisions: list[Decision] = []
    waiting_by_id = {incident.id: incident for incident in waiting}
    new: dict[str, Incident] = {}
    rejected: list[Decision] = []
    for window in windows:
        new |= {
            each.id: each
            for each in window.incidents.values()
            if each.id in new_ids and each.id not in waiting_by_id
        }
        new_rejected = (each for each in window.rejected.values() if each.id in new_ids)
        rejected += islice(new_rejected, MAX_REJECTED_A_SOURCE)
    for incident in _in_order(new.values()):
        employee_id = attribute(incident, identities)
        decisions.append(Attributed(incident, employee_id) if employee_id else Unattributed(incident))
    for incident in _in_order(waiting_by_id.values()):
        if employee_id := attribute(incident, identities):
            decisions.append(Attributed(incident, employee_id, was_unattributed=True))
    return [*decisions, *rejected]


def _in_order(incidents: Iterable[Incident]) -> Sequence[Incident]:
    return sorted(incidents, key=lambda each: (Decimal(each.timestamp), each.id))
