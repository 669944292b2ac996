"""The command that asks a node which info-hashes it stores: `sample`."""

from random import SystemRandom

import trio

from dht.cli.app import COMMON, TIMEOUT_S, app, asking_host
from dht.cli.arguments import HostArgument
from dht.commandline import CommonOptions, ExitCode, Terminal
from dht.contact import Endpoint, format_endpoint
from dht.errors import DhtError
from dht.inquiry import Call
from dht.keyspace import random_id
from dht.sampler import Sampler
from dht.sampling import Samples


@app.command
async def sample(host: HostArgument, /, *, options: CommonOptions = COMMON) -> ExitCode:
    """Ask a node for a sample of the info-hashes it stores, and print them.

    Args:
        host: The node, as HOST:PORT or [IPV6]:PORT; of a name, every address is asked.
    """
    terminal = Terminal(as_json=options.json)
    async with asking_host(host, options) as (node, endpoints):
        sampler, answers = Sampler(node), 0
        for endpoint in endpoints:
            answers += await _sample_one(sampler, endpoint, terminal, options.timeout or TIMEOUT_S)
    return ExitCode.DONE if answers else ExitCode.FAILED


async def _sample_one(
    sampler: Sampler, endpoint: Endpoint, terminal: Terminal, timeout_s: float
) -> bool:
    at = format_endpoint(endpoint)
    reason = f"no answer within {timeout_s:g} s"
    with trio.move_on_after(timeout_s):
        try:
            call, samples = await sampler.sample(endpoint, random_id(SystemRandom()))
        except DhtError as error:
            reason = str(error)
        else:
            if samples is not None:
                _show(at, call, samples, terminal)
                return True
            reason = str(call.error) if call.error is not None else "it does not know the method"
    terminal.record({"endpoint": at, "error": reason})
    terminal.note(f"{at}: {reason}")
    return False


def _show(at: str, call: Call, samples: Samples, terminal: Terminal) -> None:
    hashes = [info_hash.hex() for info_hash in samples.info_hashes]
    terminal.record(
        {
            "endpoint": at,
            "id": call.sender.id.hex() if call.sender is not None else None,
            "info_hashes": hashes,
            "num": samples.total,
            "interval_s": samples.interval_s,
        }
    )
    for info_hash in hashes:
        terminal.line(info_hash)
    terminal.note(
        f"{at} shows {len(hashes)} of {samples.total} info-hashes, "
        f"and others after {samples.interval_s} s"
    )
