"""The store's state, read once a request: what an answer is made from and what its headers tell are one."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from shared.store.state import State, read_state
from shared.store.table import Table


class StateOfRequest:
    """Reads the state at most once for each event that ``app`` resolves."""

    def __init__(self, app: APIGatewayRestResolver, table: Table) -> None:
        self._app = app
        self._table = table
        self._event: object = None
        self._state = State()

    def read(self) -> State:
        """The state as of this request; the first call costs one small read."""
        event: object = self._app.current_event
        if self._event is not event:
            self._state = read_state(self._table)
            self._event = event
        return self._state
