"""Clients without a pause, for locust (`load.py` starts it): each walks, looks at an employee, follows the
feed.
"""

from typing import Any

from locust import FastHttpUser, constant, task


class Client(FastHttpUser):
    """One client; what is no answer of the contract is an error."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Nothing is known yet."""
        self._cursor = ""
        self._token = ""
        self._etag = ""
        self._employee = ""

    @task(4)
    def walk(self) -> None:
        """The next page of a walk, or the first of a new one."""
        query = f"cursor={self._cursor}" if self._cursor else "limit=100"
        page = self._get(f"/incidents?{query}", "/incidents")
        self._cursor = page["next_cursor"] or ""
        self._employee = next(iter(page["incidents"]), self._employee)

    @task(2)
    def look_at_employee(self) -> None:
        """Somebody who was on a page."""
        if self._employee:
            self._get(f"/employees/{self._employee}/incidents", "/employees/{employee_id}/incidents")

    @task(2)
    def follow(self) -> None:
        """What is new since the last time."""
        query = f"token={self._token}&limit=100" if self._token else "limit=100"
        self._token = self._get(f"/incidents/changes?{query}", "/incidents/changes")["next_token"]

    @task(1)
    def ask_again(self) -> None:
        """The first page, if it is another one by now."""
        with self.client.get(
            "/incidents",
            name="/incidents, If-None-Match",
            headers={"If-None-Match": self._etag},
            catch_response=True,
        ) as response:
            if response.status_code not in (200, 304):
                response.failure(f"status {response.status_code}")
            self._etag = response.headers.get("ETag", self._etag)

    @task(1)
    def look_at_health(self) -> None:
        """How the poller does; that it does badly is an answer, too."""
        with self.client.get("/health", catch_response=True) as response:
            if response.status_code in (200, 503) and "sources" in response.json():
                response.success()
            else:
                response.failure(f"status {response.status_code}")

    def _get(self, path: str, name: str) -> Any:
        with self.client.get(path, name=name, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return {"next_cursor": None, "incidents": {}, "next_token": ""}
            return response.json()
