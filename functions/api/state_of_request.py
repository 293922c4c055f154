"""The store's state, read once a request: what an answer is made from and what its headers tell are one."""

from collections.abc import Callable

from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from shared.store.state import State, decode_state
from shared.store.table import Item


class StateOfRequest:
    """Reads the state at most once for each event that ``app`` resolves; ``get_item`` gives its item."""

    def __init__(self, app: APIGatewayRestResolver, get_item: Callable[[], Item | None]) -> None:
        self._app = app
        self._get_item = get_item
        self._event: object = None
        self._item: Item | None = None
        self._state = State()

    def read(self) -> State:
        """The state as of this request; the first call costs one small read."""
        event: object = self._app.current_event
        if self._event is not event:
            self._event = event
            return self.read_again()
        return self._state

    def read_again(self) -> State:
        """The state as it is now: for whoever finds that it has moved on since."""
        item = self._get_item()
        # It changes with each poll, not with each request.
        if item != self._item:
            self._item, self._state = item, decode_state(item)
        return self._state
