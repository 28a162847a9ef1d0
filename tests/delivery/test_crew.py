"""Many lanes take turns in one thread, and what they want written is written together."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from flask_smtp_admin.delivery.crew import Crew
from flask_smtp_admin.smtp import READABLE

LONG = 60.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def noting(groups: list[list[str]]) -> Crew[str, str]:
    def write_all(wishes: Sequence[str]) -> list[str | BaseException]:
        groups.append(list(wishes))
        return [wish.upper() for wish in wishes]

    return Crew(write_all)


def all_at_once(crew: Crew[str, str], *lanes: Callable[[], object]) -> None:
    """Start the lanes from within the crew, so that they begin side by side; wait for their end."""

    def begin() -> None:
        for lane in lanes:
            crew.start(lane)

    crew.start(begin)
    crew.join()


def fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.send(b"x" * 65536):
            pass


def test_what_lanes_want_at_the_same_time_is_written_together() -> None:
    groups: list[list[str]] = []
    crew = noting(groups)
    answers: list[str] = []

    def lane(name: str) -> Callable[[], None]:
        return lambda: answers.extend([crew.write(name), crew.write(name + name)])

    all_at_once(crew, lane("a"), lane("b"), lane("c"))
    assert groups == [["a", "b", "c"], ["aa", "bb", "cc"]]
    assert sorted(answers) == ["A", "AA", "B", "BB", "C", "CC"]


def test_a_lane_that_waits_for_its_server_does_not_hold_the_others(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    groups: list[list[str]] = []
    crew = noting(groups)
    seen: list[object] = []

    def waits() -> None:
        seen.append(crew.until_ready(ours, LONG, to_write=False))
        seen.append(ours.recv(10))

    def answers() -> None:
        crew.write("other")
        theirs.send(b"250")

    all_at_once(crew, waits, answers)
    assert seen == [True, b"250"]
    assert groups == [["other"]]


def test_a_wait_ends_when_its_time_is_over(pair: tuple[socket.socket, socket.socket]) -> None:
    crew = noting([])
    seen: list[bool] = []
    all_at_once(crew, lambda: seen.append(crew.until_ready(pair[0], 0.01, to_write=False)))
    assert seen == [False]


def test_who_was_ready_while_the_thread_was_busy_is_not_late(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    seen: list[bool] = []
    ends: list[float] = []

    def slow(wishes: Sequence[str]) -> list[str | BaseException]:
        theirs.send(b"250")
        while time.monotonic() < ends[0]:
            pass
        return list(wishes)

    crew: Crew[str, str] = Crew(slow)

    def waits() -> None:
        ends.append(time.monotonic() + 0.02)
        seen.append(crew.until_ready(ours, 0.01, to_write=False))

    all_at_once(crew, waits, lambda: crew.write("x"))
    assert seen == [True]


def test_a_socket_is_waited_for_until_it_can_be_written_to(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    crew = noting([])
    seen: list[bool] = []

    def fills() -> None:
        fill(ours)
        seen.append(crew.until_ready(ours, 0.01, to_write=True))
        crew.start(empties)
        seen.append(crew.until_ready(ours, LONG, to_write=True))

    def empties() -> None:
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while theirs.recv(65536):
                pass

    all_at_once(crew, fills)
    assert seen == [False, True]


def test_what_blocks_is_done_aside_while_others_go_on() -> None:
    groups: list[list[str]] = []
    crew = noting(groups)
    may_return = threading.Event()
    seen: list[str] = []

    def blocks() -> None:
        seen.append(crew.aside(lambda: "back" if may_return.wait(LONG) else "late"))

    def goes_on() -> None:
        crew.write("meanwhile")
        may_return.set()

    all_at_once(crew, blocks, goes_on)
    assert (seen, groups) == (["back"], [["meanwhile"]])


def test_an_error_aside_is_raised_in_its_lane() -> None:
    crew = noting([])
    seen: list[str] = []

    def fails() -> int:
        raise LookupError("no such name")

    def lane() -> None:
        try:
            crew.aside(fails)
        except LookupError as error:
            seen.append(str(error))

    all_at_once(crew, lane)
    assert seen == ["no such name"]


def test_an_answer_that_is_an_error_is_raised_in_its_own_lane_only() -> None:
    def write_all(wishes: Sequence[str]) -> list[str | BaseException]:
        return [ValueError(wish) if wish == "bad" else wish for wish in wishes]

    crew: Crew[str, str] = Crew(write_all)
    seen: dict[str, str] = {}

    def lane(name: str) -> Callable[[], None]:
        def run() -> None:
            try:
                seen[name] = crew.write(name)
            except ValueError:
                seen[name] = "refused"

        return run

    all_at_once(crew, lane("good"), lane("bad"))
    assert seen == {"good": "good", "bad": "refused"}


def test_an_error_of_all_is_raised_in_each() -> None:
    def write_all(_: Sequence[str]) -> list[str | BaseException]:
        raise OSError("no disk")

    crew: Crew[str, str] = Crew(write_all)
    seen: list[str] = []

    def lane() -> None:
        try:
            crew.write("x")
        except OSError as error:
            seen.append(str(error))

    all_at_once(crew, lane, lane)
    assert seen == ["no disk", "no disk"]


def test_sleepers_wake_in_the_order_of_their_time() -> None:
    crew = noting([])
    order: list[str] = []

    def lane(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            crew.sleep(seconds)
            order.append(name)

        return run

    all_at_once(crew, lane("later", 0.03), lane("sooner", 0.01))
    assert order == ["sooner", "later"]


def test_the_thread_ends_with_its_last_lane_and_comes_back() -> None:
    groups: list[list[str]] = []
    crew = noting(groups)
    threads: list[threading.Thread] = []

    def lane() -> None:
        threads.append(threading.current_thread())
        crew.write("x")

    for _ in range(2):
        all_at_once(crew, lane)
    assert len(groups) == 2
    assert not any(thread.is_alive() for thread in threads)


def test_lanes_started_from_many_threads_all_run() -> None:
    groups: list[list[str]] = []
    crew = noting(groups)

    def start() -> None:
        for _ in range(50):
            crew.start(lambda: crew.write("x"))

    starters = [threading.Thread(target=start) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    crew.join()
    assert sum(map(len, groups)) == 200


def test_outside_the_crew_everything_blocks(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    groups: list[list[str]] = []
    crew = noting(groups)
    assert not crew.until_ready(ours, 0.0, to_write=False)
    assert crew.until_ready(ours, 0.0, to_write=True)
    theirs.send(b"x")
    assert crew.until_ready(ours, LONG, to_write=False)
    assert crew.write("x") == "X"
    assert crew.aside(lambda: "here") == "here"
    crew.sleep(0.0)
    assert groups == [["x"]]


def test_a_crew_that_fails_ends_its_lanes_and_the_next_one_works(
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    crew = noting([])
    ended: list[str] = []

    def waits() -> None:
        try:
            crew.until_ready(pair[0], LONG, to_write=False)
        finally:
            ended.append("waits")

    def fail(*_: object) -> bool:
        raise MemoryError

    monkeypatch.setattr(crew, "_look", fail)
    all_at_once(crew, waits)
    monkeypatch.undo()
    assert ended == ["waits"]
    assert "The thread that delivers failed" in caplog.text

    all_at_once(crew, lambda: ended.append(crew.write("again")))
    assert ended == ["waits", "AGAIN"]


def test_an_errand_is_done_and_its_value_returned() -> None:
    groups: list[list[str]] = []
    crew = noting(groups)
    seen: list[object] = []

    def stumble() -> None:
        raise LookupError("a bug")

    def lane() -> None:
        seen.append(crew.errand(lambda: "claimed"))
        try:
            crew.errand(stumble)
        except LookupError as error:
            seen.append(str(error))
        seen.append(crew.write("a"))

    all_at_once(crew, lane)
    assert seen == ["claimed", "a bug", "A"]
    assert crew.errand(lambda: "outside") == "outside"


class Database:
    """Writes whatever it is asked to when the test says so, and can be waited for meanwhile."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.groups: list[list[str]] = []
        self.crew: Crew[str, str] = Crew(self.write_all)
        self.ours, self.theirs = ours, theirs

    def write_all(self, wishes: Sequence[str]) -> list[str | BaseException]:
        self.groups.append(list(wishes))
        assert self.crew.is_writing()
        self.crew.until_events(self.ours.fileno(), READABLE)
        self.ours.recv(1)
        return [wish.upper() for wish in wishes]

    def answer(self) -> None:
        self.theirs.send(b".")


@pytest.fixture
def database() -> Iterator[Database]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Database(ours, theirs)


def test_lanes_go_on_while_it_is_written(
    database: Database, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    order: list[str] = []

    def writes() -> None:
        order.append(database.crew.write("a"))

    def talks() -> None:
        database.crew.until_ready(ours, LONG, to_write=False)
        order.append(ours.recv(3).decode())
        database.answer()

    all_at_once(database.crew, writes, talks, lambda: theirs.send(b"250"))
    assert order == ["250", "A"]
    assert not database.crew.is_writing()


def test_one_half_writes_while_the_other_half_talks(database: Database) -> None:
    def lane(name: str) -> Callable[[], None]:
        def run() -> None:
            for number in range(3):
                database.answer()
                database.crew.write(f"{name}{number}")

        return run

    all_at_once(database.crew, *(lane(name) for name in "abcd"))
    sizes = [len(group) for group in database.groups]
    assert sum(sizes) == 12
    assert max(sizes[1:]) == 2, "as soon as it is known that one does not have to stand still"


def test_what_waits_is_being_written_before_anybody_goes_on(database: Database) -> None:
    seen: list[str] = []

    def lane(name: str) -> Callable[[], None]:
        def run() -> None:
            for number in range(3):
                database.answer()
                database.crew.write(f"{name}{number}")
                seen.append(f"{name}{number} in group {len(database.groups)}")

        return run

    all_at_once(database.crew, *(lane(name) for name in "abcd"))
    assert database.groups[1:4] == [["a1", "b1"], ["c1", "d1"], ["a2", "b2"]]
    assert "a1 in group 3" in seen, "the next group had begun"


def test_what_is_wished_while_it_writes_is_made_ready_meanwhile(database: Database) -> None:
    crew = Crew[str, str](database.write_all, ready=lambda wish: f"{wish}!")
    database.crew = crew

    def lane(name: str) -> Callable[[], None]:
        def run() -> None:
            for number in range(3):
                database.answer()
                crew.write(f"{name}{number}")

        return run

    all_at_once(crew, *(lane(name) for name in "abcd"))
    assert database.groups[:3] == [["a0", "b0", "c0", "d0"], ["a1", "b1"], ["c1", "d1"]]
    assert database.groups[3:] == [["a2!", "b2!"], ["c2!", "d2!"]]


def test_an_errand_does_not_come_between_what_is_being_written(database: Database) -> None:
    order: list[str] = []

    def writes() -> None:
        order.append(database.crew.write("a"))

    def runs() -> None:
        database.answer()
        database.crew.errand(lambda: order.append("errand"))

    all_at_once(database.crew, writes, runs)
    assert sorted(order) == ["A", "errand"]


def test_an_errand_beside_it_does_not_wait_until_it_is_written(database: Database) -> None:
    database.crew = Crew(database.write_all, has_room=lambda: True)
    order: list[str] = []

    def writes() -> None:
        database.answer()
        database.crew.write("it is known now that one does not have to stand still")
        order.append(database.crew.write("a"))

    def runs() -> None:
        database.crew.write("the same")
        database.crew.errand(lambda: order.append("one errand"), beside=True)
        database.crew.errand(lambda: order.append("another"), beside=True)
        database.answer()

    all_at_once(database.crew, writes, runs)
    assert order == ["one errand", "another", "A"]


def test_an_errand_beside_it_waits_if_there_is_no_second_connection(database: Database) -> None:
    crew, order = database.crew, list[str]()

    def writes() -> None:
        database.answer()
        crew.write("it is known now that one does not have to stand still")
        order.append(crew.write("a"))

    def runs() -> None:
        crew.write("the same")
        crew.sleep(0.01)
        order.append(f"asks in group {len(database.groups)}")
        crew.errand(lambda: order.append("errand"), beside=True)

    def answers() -> None:
        crew.write("the same")
        crew.sleep(0.02)
        order.append("answer")
        database.answer()

    all_at_once(crew, writes, runs, answers)
    assert order[:2] == ["asks in group 2", "answer"]
    assert set(order[2:]) == {"A", "errand"}


def test_an_errand_beside_it_lets_lanes_go_on_itself(
    database: Database, pair: tuple[socket.socket, socket.socket]
) -> None:
    crew = database.crew = Crew(database.write_all, has_room=lambda: True)
    ours, theirs = pair
    order: list[str] = []

    def claim() -> str:
        assert crew.is_writing()
        crew.until_events(ours.fileno(), READABLE)
        return ours.recv(10).decode()

    def runs() -> None:
        database.answer()
        crew.write("it is known now that one does not have to stand still")
        order.append(crew.errand(claim, beside=True))

    def writes() -> None:
        crew.write("the same")
        database.answer()
        order.append(crew.write("a"))
        theirs.send(b"claimed")

    all_at_once(crew, runs, writes)
    assert order == ["A", "claimed"]


def test_a_crew_that_fails_ends_an_errand_beside_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = database.crew = Crew(database.write_all, has_room=lambda: True)
    seen: list[str] = []

    def claim() -> None:
        monkeypatch.setattr(crew, "_look", lambda *_: 1 / 0)
        try:
            crew.until_events(database.ours.fileno(), READABLE)
        finally:
            seen.append("ended")

    def runs() -> None:
        database.answer()
        crew.write("it is known now that one does not have to stand still")
        crew.errand(claim, beside=True)

    all_at_once(crew, runs)
    assert seen == ["ended"]


def test_nothing_is_written_beside_an_errand_that_has_the_last_connection(
    database: Database, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Waiting for another one would keep the thread, and with it the errand."""
    has_room = True
    crew = database.crew = Crew(database.write_all, has_room=lambda: has_room)
    ours, theirs = pair
    order: list[str] = []

    def claim() -> None:
        nonlocal has_room
        has_room = False
        crew.until_events(ours.fileno(), READABLE)
        order.append(f"claimed in group {len(database.groups)}")
        has_room = True

    def runs() -> None:
        database.answer()
        crew.write("it is known now that one does not have to stand still")
        crew.errand(claim, beside=True)

    def writes() -> None:
        crew.write("the same")
        crew.sleep(0.01)
        database.answer()
        order.append(crew.write("a"))

    def answers() -> None:
        crew.write("the same")
        crew.sleep(0.03)
        theirs.send(b".")

    all_at_once(crew, runs, writes, answers)
    assert order == ["claimed in group 1", "A"]
