"""A client of the Security Incident API.

>>> from incidents_client import Client
>>> with Client("http://127.0.0.1:9000") as client:
...     for employee in client.employees(priorities=["critical"]):
...         print(employee.id, employee.counts["critical"])
"""

from incidents_client.auth import ApiKey, Bearer, SigV4, no_auth
from incidents_client.client import Client
from incidents_client.errors import (
    CredentialsError,
    ExpiredCursorError,
    ExpiredTokenError,
    IncidentsError,
    MalformedAnswerError,
    ProblemError,
    RefusedError,
    SettingsError,
    UnavailableError,
    UnknownEmployeeError,
    UnreachableError,
)
from incidents_client.exact_json import Number
from incidents_client.records import ChangesPage, Employee, Health, Incident, Notice
from incidents_client.version import VERSION as __version__

__all__ = [
    "ApiKey",
    "Bearer",
    "ChangesPage",
    "Client",
    "CredentialsError",
    "Employee",
    "ExpiredCursorError",
    "ExpiredTokenError",
    "Health",
    "Incident",
    "IncidentsError",
    "MalformedAnswerError",
    "Notice",
    "Number",
    "ProblemError",
    "RefusedError",
    "SettingsError",
    "SigV4",
    "UnavailableError",
    "UnknownEmployeeError",
    "UnreachableError",
    "__version__",
    "no_auth",
]
