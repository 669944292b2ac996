"""When torrents are announced to neighbours: bounds first."""

from dht.keyspace import InfoHash
from magnet.sources.lsd.message import HASHES_MAX
from magnet.sources.lsd.schedule import BURST, GAP_S, REPEAT_S, AnnounceSchedule

START = 1000.0
KEY = InfoHash(bytes(20))
NEVER = float("inf")


def key(number: int) -> InfoHash:
    return InfoHash(number.to_bytes(20))


def schedule(*keys: InfoHash) -> AnnounceSchedule:
    made = AnnounceSchedule(now=START)
    for each in keys:
        made.add(each)
    return made


def sent(from_: AnnounceSchedule, *, until: float) -> list[tuple[float, tuple[InfoHash, ...]]]:
    """Return what is sent when, by one who follows the schedule."""
    out: list[tuple[float, tuple[InfoHash, ...]]] = []
    now = START
    while (now := from_.ready_at(now=now)) <= until:
        keys = from_.take(now=now)
        assert keys
        out.append((now - START, keys))
    return out


def test_nothing_to_announce_is_never_announced() -> None:
    assert schedule().ready_at(now=START) == NEVER
    assert schedule().take(now=START) == ()
    emptied = schedule(KEY)
    emptied.remove(KEY)
    emptied.remove(KEY)
    assert emptied.take(now=START + REPEAT_S) == ()


def test_messages_are_bounded_however_much_there_is_to_say() -> None:
    crowd = schedule(*map(key, range(100 * HASHES_MAX)))
    messages = sent(crowd, until=START + 3600)
    assert len(messages) <= BURST + 3600 / GAP_S
    assert all(len(keys) == HASHES_MAX for _, keys in messages)


def test_torrents_take_turns() -> None:
    crowd = schedule(*map(key, range(30 * HASHES_MAX)))
    messages = sent(crowd, until=START + 25 * GAP_S)
    said = [each for _, keys in messages for each in keys]
    assert len(said) == len(set(said)) == 30 * HASHES_MAX


def test_torrent_is_announced_at_once_and_then_now_and_then() -> None:
    times = [at for at, _ in sent(schedule(KEY), until=START + 1000)]
    assert times == [0.0, REPEAT_S, 2 * REPEAT_S, 3 * REPEAT_S]


def test_torrents_share_messages() -> None:
    assert sent(schedule(key(1), key(2)), until=START) == [(0.0, (key(1), key(2)))]


def test_to_add_what_is_there_changes_nothing() -> None:
    busy = schedule(KEY)
    busy.take(now=START)
    busy.add(KEY)
    assert busy.ready_at(now=START + 1) == START + REPEAT_S


def test_neighbour_who_asks_is_answered_within_bounds() -> None:
    busy = schedule(KEY)
    busy.take(now=START)
    for _ in range(10):
        busy.hasten(KEY)
    assert busy.ready_at(now=START + 10) == START + GAP_S
    busy.take(now=START + GAP_S)
    busy.hasten(KEY)
    assert busy.ready_at(now=START + 200) == START + 200


def test_what_is_not_announced_cannot_be_hastened() -> None:
    busy = schedule()
    busy.hasten(KEY)
    assert busy.ready_at(now=START) == NEVER
