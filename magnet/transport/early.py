"""A stream of which some bytes were received, and looked at, before its user came."""

import trio


class EarlyStream(trio.abc.Stream):
    """Gives back the bytes that came early, and is from then on the stream that it holds."""

    def __init__(self, stream: trio.abc.Stream, early: bytes) -> None:
        """Take over a stream.

        Args:
            stream: An open stream, owned by this object from now on.
            early: What was received from it.
        """
        self._stream = stream
        self._early = early

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send data; as for `trio.abc.SendStream`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending may be possible; as for `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive data; as for `trio.abc.ReceiveStream`."""
        if not self._early:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        data = self._early[:max_bytes]
        self._early = self._early[len(data) :]
        return data

    async def aclose(self) -> None:
        """Close the stream that is held."""
        await self._stream.aclose()
