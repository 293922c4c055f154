"""Answers `GET /summary`: everybody's incidents in numbers, at the price of two small reads."""

import json
from collections.abc import Mapping
from typing import Any

from functions.api import formats
from functions.api.answer import Answer
from functions.api.overviews import OverviewRequest, Overviews, describe_scale, shown_risk
from functions.api.page import describe_snapshot
from shared.domain.employee_summary import DAY_SECONDS
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES
from shared.domain.overview import DayCounts, Overview
from shared.domain.rfc3339 import format_rfc3339

_TOP = 10
_NOTHING = DayCounts()


class SummaryAnswers:
    """Totals, days and who is on top, of so many UTC days up to today."""

    def __init__(self, overviews: Overviews) -> None:
        self._overviews = overviews

    def prepare(self, days: int) -> OverviewRequest:
        """:meth:`functions.api.overviews.Overviews.prepare` for so many days."""
        return self._overviews.prepare("summary", days)

    def answer(self, request: OverviewRequest) -> Answer:
        """The numbers; raises :class:`functions.api.problems.SummariesNotReadyError`."""
        return self._overviews.answer(request, self._make)

    def headers(self, request: OverviewRequest) -> dict[str, str]:
        """The headers of the answer that are known without reading more."""
        return self._overviews.headers(request)

    def _make(self, request: OverviewRequest, overview: Overview) -> Answer:
        first_kept = self._overviews.first_day(request, overview)
        today = request.as_of // DAY_SECONDS
        days = int(str(request.asked[1]))
        first = today - days + 1
        rows = _rows(overview.days, first, today, first_kept)
        scale = overview.basis.scale
        by_priority = _add_up(PRIORITIES, [row.by_priority for row in rows.values()])
        document = {
            "period": {
                "days": days,
                "since": format_rfc3339(first * DAY_SECONDS),
                "until": format_rfc3339((today + 1) * DAY_SECONDS),
            },
            "incidents": sum(by_priority.values()),
            "by_priority": by_priority,
            "by_type": _add_up(INCIDENT_TYPES, [row.by_type for row in rows.values()]),
            "by_day": [_describe_day(day, row) for day, row in rows.items()],
            "employees_affected": sum(row.last_of for row in rows.values()),
            "top_employees": [
                {"employee_id": each.employee_id, "risk": shown_risk(scale, each.risk, request.as_of)}
                for each in [each for each in overview.top if each.last_day >= first_kept][:_TOP]
            ],
            "unattributed": request.state.totals.unattributed,
            "scored_at": format_rfc3339(request.as_of),
            "scale": describe_scale(scale),
            "snapshot": describe_snapshot(request.snapshot),
        }
        body = json.dumps(document, separators=(",", ":"))
        return Answer(body, formats.JSON, headers=self.headers(request))


def _rows(days: Mapping[int, DayCounts], first: int, today: int, first_kept: int) -> Mapping[int, DayCounts]:
    """Each day of the period. What is dated ahead, by up to a day, counts as today's."""
    rows = {
        day: days.get(day, _NOTHING) if day >= first_kept else _NOTHING for day in range(first, today + 1)
    }
    for day, ahead in days.items():
        if day > today:
            now = rows[today]
            rows[today] = DayCounts(
                tuple(map(sum, zip(now.by_priority, ahead.by_priority, strict=True))),
                tuple(map(sum, zip(now.by_type, ahead.by_type, strict=True))),
                now.last_of + ahead.last_of,
            )
    return rows


def _add_up(names: tuple[str, ...], rows: list[tuple[int, ...]]) -> dict[str, int]:
    return {name: sum(row[position] for row in rows) for position, name in enumerate(names)}


def _describe_day(day: int, row: DayCounts) -> dict[str, Any]:
    return {
        "day": format_rfc3339(day * DAY_SECONDS)[:10],
        "incidents": sum(row.by_priority),
        **dict(zip(PRIORITIES, row.by_priority, strict=True)),
    }
