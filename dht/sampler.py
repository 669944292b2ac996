"""Asking nodes for samples of the info-hashes they store, never before their time.

Spec: BEP 51.
"""

import trio

from dht.contact import Endpoint
from dht.errors import ErrorResponse, MalformedMessage, QueryRefused
from dht.inquiry import Call
from dht.keyspace import NodeId
from dht.node import Node
from dht.sampling import SAMPLE_INFOHASHES, Samples, SampleSchedule, read_samples


class Sampler:
    """Asks for samples with the help of a node.

    Attributes:
        schedule: Who may be asked when.
    """

    def __init__(self, node: Node, schedule: SampleSchedule | None = None) -> None:
        """Begin with a schedule of one's own, or one that knows nobody yet."""
        self.schedule = schedule if schedule is not None else SampleSchedule()
        self._node = node

    async def sample(self, endpoint: Endpoint, target: NodeId) -> tuple[Call, Samples | None]:
        """Ask a node for samples; its answer also names nodes near `target`.

        Returns:
            The query with its answer or the reason for having none, and the samples; None where the
            node gave none, because it does not know the method or did not answer.

        Raises:
            QueryRefused: It is too early for this node, its address is not allowed, or we have no
                socket of its family.
            MalformedMessage: The answer breaks the rules of the method.
            NodeClosed: The node was closed meanwhile.
        """
        now = trio.current_time()
        if self.schedule.due_at(endpoint, now=now) > now:
            raise QueryRefused("too early to sample this node again")
        self.schedule.asked(endpoint, now=now)
        call = await self._node.call(endpoint, SAMPLE_INFOHASHES, {b"target": target})
        return call, self._read(call)

    def _read(self, call: Call) -> Samples | None:
        now, endpoint = trio.current_time(), call.endpoint
        if call.answer is None:
            if isinstance(call.error, ErrorResponse):
                self.schedule.refused(endpoint, now=now)
            else:
                self.schedule.failed(endpoint, now=now)
            return None
        try:
            samples = read_samples(call.answer.response.values)
        except MalformedMessage:
            self.schedule.malformed(endpoint, now=now)
            raise
        self.schedule.answered(endpoint, samples, now=now)
        return samples
