"""Publishing new incidents at or above a priority, each once as far as SNS and crashes allow."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from functions.poller.notification import MAX_INCIDENTS, Message, Notable, find_notable, make_message
from shared.store.entries import read_entry
from shared.store.notifications import Notified, claim, move, read_notified, start_notified
from shared.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Topic:
    """An SNS topic."""

    def __init__(self, arn: str, *, client: "SNSClient") -> None:
        self._arn = arn
        self._client = client

    def publish(self, message: Message) -> None:
        """Publish one message; raises botocore's errors."""
        self._client.publish(
            TopicArn=self._arn,
            Subject=message.subject,
            Message=message.body,
            MessageAttributes={
                "highest_priority": {"DataType": "String", "StringValue": message.highest_priority}
            },
        )


class Told(NamedTuple):
    """How many incidents were published; ``error`` is the name of the error that ended it, if one did."""

    incidents: int = 0
    error: str = ""


class Notifier:
    """Publishes what the journal holds behind the pointer ``notified`` and moves the pointer.

    A message is published before the pointer moves past it: after a crash in between, the next poll
    publishes that one again rather than none. Of overlapping polls only the one with the lease publishes.
    Without a topic or ``priorities`` the pointer moves all the same, so that whoever turns notifications on
    is not told of the past.
    """

    def __init__(self, table: Table, topic: Topic | None, priorities: Sequence[str]) -> None:
        self._table = table
        self._topic = topic if priorities else None
        self._priorities = priorities

    def begin(self, projected: int) -> Notified:
        """Where the pointer is before this poll adds anything; the first time that is ``projected``."""
        notified = read_notified(self._table)
        if notified is None:
            start_notified(self._table, Notified(projected))
            notified = read_notified(self._table) or Notified(projected)
        return notified

    def tell(
        self,
        since: Notified,
        projected: int,
        *,
        poll_id: str,
        now: float,
        until: float,
        has_time: Callable[[], bool],
    ) -> Told:
        """Publish all up to the entry ``projected``, while there is time; the next poll goes on.

        Neither the topic's nor the table's errors are raised: what there is to tell of is stored.
        ``now`` and ``until``, when this poll is over at the latest, are epoch seconds.
        """
        published = 0
        try:
            if since.sequence < projected and claim(
                self._table, since, poll_id=poll_id, now=now, until=until
            ):
                move_to = partial(move, self._table, poll_id=poll_id)
                for incidents in self._publish(since, projected, move_to, until, has_time):
                    published += incidents
        except (BotoCoreError, ClientError) as error:
            return Told(published, error=name_error(error))
        return Told(published)

    def _publish(
        self,
        since: Notified,
        projected: int,
        move_to: Callable[..., bool],
        until: float,
        has_time: Callable[[], bool],
    ) -> Iterator[int]:
        """Publish message by message, each time saying how many incidents it had, and move the pointer."""
        done = since
        try:
            if self._topic:
                for batch in self._batches(since, projected):
                    if not has_time():
                        return
                    self._topic.publish(make_message(batch))
                    yield len(batch)
                    done = Notified(batch[-1].sequence - 1, batch[-1].position + 1)
                    if not move_to(done, until=until):
                        return
            done = Notified(projected)
        finally:
            # Given back: the next poll need not wait until this one would have been over.
            move_to(done, until=0.0)

    def _batches(self, since: Notified, projected: int) -> Iterator[Sequence[Notable]]:
        """A message's worth at a time; read only as far as is published."""
        return batched(self._notables(since, projected), MAX_INCIDENTS, strict=False)

    def _notables(self, since: Notified, projected: int) -> Iterator[Notable]:
        for sequence in range(since.sequence + 1, projected + 1):
            entry = read_entry(self._table, sequence)
            # An entry may be gone: then its incidents are past their retention.
            for notable in find_notable(entry, self._priorities) if entry else ():
                if sequence > since.sequence + 1 or notable.position >= since.position:
                    yield notable


def name_error(error: Exception) -> str:
    """What AWS calls the error, or its class if it never got that far."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    return code or type(error).__name__
