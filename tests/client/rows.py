"""Incidents, employees and pages as the API has them."""

from typing import Any

PRIORITIES = ("low", "medium", "high", "critical")


def incident(
    number: int, employee_id: str | None = "7", priority: str = "low", **more: Any
) -> dict[str, Any]:
    return {
        "id": f"{number:032x}",
        "employee_id": employee_id,
        "type": "misuse",
        "priority": priority,
        "timestamp": 1_795_000_000 + number,
        **more,
    }


def employee(*incidents: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    """All of them low; ``count`` where a page has a part alone."""
    groups: dict[str, Any] = {name: {"count": 0, "incidents": []} for name in PRIORITIES}
    groups["low"] = {"count": len(incidents) if count is None else count, "incidents": list(incidents)}
    return groups


def page(employees: dict[str, Any], next_cursor: str | None = None) -> dict[str, Any]:
    return {"incidents": employees, "next_cursor": next_cursor, "has_more": next_cursor is not None}


def changes(*rows: dict[str, Any], next_token: str, has_more: bool = False) -> dict[str, Any]:
    return {"data": list(rows), "next_token": next_token, "has_more": has_more}
