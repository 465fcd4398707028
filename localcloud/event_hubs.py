"""Event Hubs over AMQP 1.0: one namespace whose hubs the real SDKs send to and receive from.

A namespace has these nodes: `$cbs` takes tokens, `$management` tells of hubs and partitions, `<hub>` and
`<hub>/Partitions/<n>` take events, `<hub>/ConsumerGroups/<group>/Partitions/<n>` gives them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

from localcloud import event_hubs_access as access
from localcloud.amqp_frames import AmqpError
from localcloud.amqp_messages import ANNOTATIONS, APPLICATION, DATA, PROPERTIES, VALUE, Message, reply
from localcloud.amqp_peer import LARGEST_MESSAGE, Connection, Link, LostAnswer
from localcloud.amqp_types import Array, Described, Int, Symbol, encode
from localcloud.cloud import HUBS, Cloud
from localcloud.event_hub import Hub, Reader
from localcloud.faults import Faults, Rule

BATCH = 0x80013700
"""The message format of a batch: each of its Data sections is an encoded message."""

_CONDITIONS = {
    401: "amqp:unauthorized-access",
    404: "amqp:not-found",
    408: "com.microsoft:timeout",
    413: "amqp:link:message-size-exceeded",
    429: "com.microsoft:server-busy",
    503: "com.microsoft:server-busy",
}
_SENDER = re.compile(r"(?P<hub>[^/]+)(?:/Partitions/(?P<partition>\d+))?")
_RECEIVER = re.compile(r"(?P<hub>[^/]+)/ConsumerGroups/(?P<group>[^/]+)/Partitions/(?P<partition>\d+)", re.IGNORECASE)
_SERVICE_NODES = ("$cbs", "$management")


class EventHubs:
    """See `amqp_peer.Broker`; a fault rule's method is OPEN, ATTACH, SEND, CBS or READ, its path the node's address."""

    def __init__(self, cloud: Cloud, faults: Faults | None = None, hubs: Mapping[str, int] = HUBS) -> None:
        self._cloud = cloud
        self._faults = faults or Faults()
        folder = cloud.home / "event_hubs"
        self._hubs = {name: Hub(folder / name, name, partitions) for name, partitions in hubs.items()}
        self._connections: set[Connection] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    def give(self, hub: str, body: bytes, properties: Mapping[str, str], key: str | None = None) -> None:
        """Append one event on behalf of a service of this cloud."""
        annotations = {Symbol("x-opt-partition-key"): key} if key is not None else {}
        parts = ((ANNOTATIONS, annotations), (APPLICATION, dict(properties)), (DATA, body))
        message = b"".join(encode(Described(code, value)) for code, value in parts)
        partition, sequence = self._hubs[hub].append(None, [message])
        facts = {"partition": partition, "sequence": sequence, "count": 1, "bytes": len(message)}
        self._cloud.record("event_hubs", "received", hub=hub, by="Event Grid", **facts)

    def has(self, hub: str) -> bool:
        """Whether there is such a hub."""
        return hub in self._hubs

    async def close(self) -> None:
        """Break off every connection."""
        for connection in list(self._connections):
            connection.abort()

    # -- what connections ask ----------------------------------------------------------------------------------------

    async def opened(self, _: Connection) -> None:
        """See `amqp_peer.Broker`."""
        await self._fault("OPEN", "/")

    async def attached(self, link: Link) -> None:
        """See `amqp_peer.Broker`."""
        address = link.address
        try:
            await self._fault("ATTACH", f"/{address}")
            if address in _SERVICE_NODES:
                return
            self._admit(link.connection, address)
            if link.receiving:
                self._attach_reader(link, address)
            else:
                self._attach_sender(link, address)
        except AmqpError as refusal:
            self._cloud.record("event_hubs", "refused", address=address, reason=str(refusal))
            raise

    async def received(self, link: Link, message: bytes, message_format: int) -> None:
        """See `amqp_peer.Broker`."""
        if link.address in _SERVICE_NODES:
            await self._request(link, Message.read(message))
            return
        rule = await self._fault("SEND", f"/{link.address}")
        if len(message) > LARGEST_MESSAGE:
            said = f"The received message (size: {len(message)}) exceeds the limit ({LARGEST_MESSAGE})."
            raise AmqpError("amqp:link:message-size-exceeded", said)
        hub, wanted = link.node
        messages = Message.read(message).bodies() if message_format == BATCH else [message]
        if not messages:
            raise AmqpError("amqp:invalid-field", "the batch is empty")
        partition, sequence = hub.append(wanted, messages)
        facts = {"partition": partition, "sequence": sequence, "count": len(messages), "bytes": len(message)}
        self._cloud.record("event_hubs", "received", hub=hub.name, by="AMQP", **facts)
        if rule and rule.lose_response:
            raise LostAnswer

    def credited(self, link: Link) -> None:
        """See `amqp_peer.Broker`."""
        if isinstance(link.node, Reader):
            link.node.wake()

    def detached(self, link: Link) -> None:
        """See `amqp_peer.Broker`."""
        if isinstance(link.node, Reader):
            link.node.leave()
            self._note(link.node, "left")

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _admit(self, connection: Connection, address: str) -> None:
        now = time.time()
        if not any(until > now and access.covers(audience, address) for audience, until in connection.claims.items()):
            said = f"Unauthorized access. A token for '{address}' must be put on $cbs first."
            raise AmqpError("amqp:unauthorized-access", said)

    def _attach_sender(self, link: Link, address: str) -> None:
        found = _SENDER.fullmatch(address)
        hub = self._hub(address, found["hub"] if found else "", found["partition"] if found else None)
        link.node = (hub, int(found["partition"]) if found and found["partition"] else None)

    def _attach_reader(self, link: Link, address: str) -> None:
        found = _RECEIVER.fullmatch(address)
        if found is None:
            raise _missing(address)
        hub = self._hub(address, found["hub"], found["partition"])
        if found["group"].lower() not in hub.groups:
            raise _missing(address)
        reader = Reader(hub, link, found["group"], int(found["partition"]))
        for other in hub.admit(reader):
            said = f"New receiver '{link.name}' with higher epoch of '{reader.level}' is created"
            other.link.detach(AmqpError("amqp:link:stolen", said))
            other.leave()
            self._note(other, "stolen")
        link.node = reader
        reader.start()
        self._note(reader, "reads")

    def _hub(self, address: str, name: str, partition: str | None) -> Hub:
        hub = self._hubs.get(name)
        if hub is None or (partition is not None and int(partition) >= len(hub.logs)):
            raise _missing(address)
        return hub

    async def _request(self, link: Link, message: Message) -> None:
        """A request to `$cbs` or `$management`; the answer goes to the receiving link on the same node."""
        node = link.address
        asked = message.value(APPLICATION) or {}
        properties = message.value(PROPERTIES) or [None]
        await self._fault("CBS" if node == "$cbs" else "READ", f"/{asked.get('name', '')}")
        answer = self._put_token if node == "$cbs" else self._read
        status, said, body = answer(link.connection, asked, message.value(VALUE))
        facts = {"status-code": Int(status), "status-description": said, "statusCode": Int(status)}
        for other in link.session.links.values():
            if other.receiving and other.address == node:
                other.send(reply(properties[0], facts, body))

    def _put_token(self, connection: Connection, asked: Mapping[str, Any], token: Any) -> tuple[int, str, Any]:
        audience, kind = str(asked.get("name", "")), str(asked.get("type", ""))
        text = token.decode() if isinstance(token, bytes) else str(token)
        try:
            connection.claims[audience] = access.verify(kind, text, audience)
        except access.NotAuthorized as reason:
            self._cloud.record("event_hubs", "token_refused", audience=audience, type=kind, reason=str(reason))
            return 401, f"Unauthorized access: {reason}", None
        self._cloud.record("event_hubs", "token_taken", audience=audience, type=kind)
        return 202, "Accepted", None

    def _read(self, connection: Connection, asked: Mapping[str, Any], _: Any) -> tuple[int, str, Any]:
        hub, partition = self._hubs.get(str(asked.get("name"))), asked.get("partition")
        try:
            self._admit(connection, str(asked.get("name", "")))
        except AmqpError as refusal:
            return 401, str(refusal), None
        if hub is None or (partition is not None and not 0 <= int(partition) < len(hub.logs)):
            return 404, f"The messaging entity '{asked.get('name')}' could not be found.", None
        if asked.get("type") == "com.microsoft:partition":
            return 200, "OK", hub.partition_properties(int(partition))
        ids = Array(str(number) for number in range(len(hub.logs)))
        return 200, "OK", hub.properties() | {"partition_count": Int(len(ids)), "partition_ids": ids}

    async def _fault(self, method: str, address: str) -> Rule | None:
        rule = self._faults.take_request(method, address)
        if rule is not None:
            await asyncio.sleep(rule.delay)
            if rule.status:
                condition = _CONDITIONS.get(rule.status, "amqp:internal-error")
                raise AmqpError(condition, f"fault rule: status {rule.status}")
        return rule

    def _note(self, reader: Reader, action: str) -> None:
        place = {"hub": reader.hub.name, "group": reader.group, "partition": reader.partition}
        self._cloud.record("event_hubs", action, **place, next=reader.position, level=reader.level)


def _missing(address: str) -> AmqpError:
    return AmqpError("amqp:not-found", f"The messaging entity '{address}' could not be found.")
