"""Many lanes in one thread, each going on whenever what it waits for is there.

Owns the taking of turns: a lane that waits for its server, or for its outcome to be written, lets
the others go on. What the lanes want written is written for all of them together, as soon as none
of them has anything else to do. Where the database is one that can be waited for like a server
(:meth:`Crew.until_events`), lanes go on while it writes; what they want written meanwhile comes
next. Must not know what a lane does, nor what it has written.

One thread, since threads would spend more time on waking each other than on the messages: Python
runs one of them at a time anyway. Each lane runs in a greenlet, so that it reads like any other
code. A call that blocks, to the database above all, keeps the whole crew waiting.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

from ..smtp import BLOCKING, READABLE, WRITABLE, Poller, make_poller, milliseconds

logger = logging.getLogger(__name__)

T = TypeVar("T")
Wish = TypeVar("Wish")
Answer = TypeVar("Answer")

WriteAll = Callable[[Sequence[Wish]], Sequence[Answer | BaseException]]
"""Writes what several lanes want and returns an answer for each; an error is raised in its lane."""

GATHER_SECONDS = 0.001
"""How long the first lanes that want something written wait for others, if those are many and could
not go on meanwhile."""

_FOREVER = math.inf


@dataclass(eq=False)
class _Turn:
    """A lane that can go on: with a value, or with an error raised where it waits."""

    lane: greenlet
    value: Any = None
    error: BaseException | None = None


@dataclass(eq=False)
class _Waiting:
    lane: greenlet
    until: float


@dataclass
class _Shift(Generic[Wish]):
    """What the thread of a crew works with, from its start to its end."""

    wake_reader: socket.socket
    wake_writer: socket.socket
    poller: Poller = field(default_factory=make_poller)
    loop: greenlet | None = None
    """Where the lanes hand over to; ``None`` until the thread has begun."""
    waiting: dict[int, _Waiting] = field(default_factory=dict)
    sleeping: list[_Waiting] = field(default_factory=list)
    wishes: list[tuple[greenlet, Wish]] = field(default_factory=list)
    errands: list[tuple[greenlet, Callable[[], object]]] = field(default_factory=list)
    asides: list[tuple[greenlet, Callable[[], object]]] = field(default_factory=list)
    """Errands that are run while something is written."""
    clerk: greenlet | None = None
    """Who is writing, or runs an errand in turn with that."""
    runner: greenlet | None = None
    """Who runs an errand beside that."""
    overlaps: bool = False
    """Whether lanes go on while it is written."""
    lanes: set[greenlet] = field(default_factory=set)
    next_timer: float = _FOREVER

    def close(self) -> None:
        """Give back what it took to wake the thread."""
        self.wake_reader.close()
        self.wake_writer.close()


class Crew(Generic[Wish, Answer]):
    """Runs lanes in a thread that is there as long as there are any. Thread-safe.

    What is no lane of the crew may call everything, too: it blocks then, as one would expect.

    :param write_all: called in the crew's thread.
    :param ready: does beforehand what it can of writing one wish, and returns that. Called only while
        the thread would wait otherwise.
    :param has_room: tells whether the database would give a second connection at once.
    """

    def __init__(
        self,
        write_all: WriteAll[Wish, Answer],
        *,
        ready: Callable[[Wish], Wish] = lambda wish: wish,
        has_room: Callable[[], bool] = lambda: False,
        name: str = "smtp-admin-crew",
    ) -> None:
        self._write_all = write_all
        self._make_ready = ready
        self._has_room = has_room
        self._name = name
        self._lock = threading.Lock()
        self._ready: deque[_Turn | Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._shift: _Shift[Wish] | None = None

    # --- for whoever starts lanes ---------------------------------------------------------------

    def start(self, lane: Callable[[], object]) -> None:
        """Have the crew run ``lane``, which must not raise.

        :raises RuntimeError: the interpreter is ending and gives out no more threads.
        :raises OSError: the process has as many files open as it may.
        """
        with self._lock:
            self._ready.append(lane)
            if self._shift is not None:
                self._wake()
                return
            try:
                self._begin()
            except BaseException:
                self._ready.pop()
                raise

    def _begin(self) -> None:
        shift: _Shift[Wish] = _Shift(*socket.socketpair())
        # A daemon: a process that ends must not be kept by a long queue.
        thread = threading.Thread(target=self._work, args=(shift,), name=self._name, daemon=True)
        self._shift, self._thread = shift, thread
        try:
            thread.start()
        except BaseException:
            self._shift = self._thread = None
            shift.close()
            raise

    def join(self, seconds: float | None = None) -> bool:
        """Wait until there is no lane any more.

        :param seconds: at most. Default: as long as it takes.
        :returns: whether there is none.
        """
        with self._lock:
            thread = self._thread
        if thread is None:
            return True
        thread.join(seconds)
        return not thread.is_alive()

    # --- for lanes --------------------------------------------------------------------------------

    def is_lane(self) -> bool:
        """Tell whether it is a lane of this crew that asks."""
        return self._here() is not None

    def until_ready(self, sock: socket.socket, seconds: float, *, to_write: bool) -> bool:
        """Let others go on until the socket is ready; ``False``: the time is over."""
        shift = self._here()
        if shift is None:
            return BLOCKING.until_ready(sock, seconds, to_write=to_write)
        until = time.monotonic() + seconds
        return bool(_wait(shift, sock.fileno(), WRITABLE if to_write else READABLE, until))

    def sleep(self, seconds: float) -> None:
        """Let others go on for so long."""
        shift = self._here()
        if shift is None:
            time.sleep(seconds)
            return
        until = time.monotonic() + seconds
        shift.sleeping.append(_Waiting(getcurrent(), until))
        shift.next_timer = min(shift.next_timer, until)
        _switch(shift)

    def write(self, wish: Wish) -> Answer:
        """Return once it is written, together with what others want written at this time."""
        shift = self._here()
        if shift is None:
            [answer] = self._write_all([wish])
            if isinstance(answer, BaseException):
                raise answer
            return answer
        if shift.overlaps and shift.clerk is not None:
            wish = self._make_ready(wish)
        shift.wishes.append((getcurrent(), wish))
        answered: Answer = _switch(shift)
        return answered

    def errand(self, act: Callable[[], T], *, beside: bool = False) -> T:
        """Do something with the database, when nothing is being written.

        :param beside: also while something is, where both can go on at the same time. It must not
            wait for anything but the database, nor for what lanes want written.
        """
        shift = self._here()
        if shift is None:
            return act()
        is_beside = beside and shift.overlaps and (shift.runner is not None or self._has_room())
        (shift.asides if is_beside else shift.errands).append((getcurrent(), act))
        result: T = _switch(shift)
        return result

    def aside(self, act: Callable[[], T]) -> T:
        """Let others go on while another thread does something that blocks."""
        shift = self._here()
        if shift is None:
            return act()
        turn = _Turn(getcurrent())

        def work() -> None:
            try:
                turn.value = act()
            except BaseException as error:  # noqa: BLE001  (raised in the lane)
                turn.error = error
            with self._lock:
                self._ready.append(turn)
                self._wake()

        try:
            threading.Thread(target=work, name="smtp-admin-aside", daemon=True).start()
        except RuntimeError:  # the interpreter is ending
            return act()
        result: T = _switch(shift)
        return result

    def meanwhile(self, act: Callable[[], object]) -> threading.Thread | None:
        """Have another thread do something that blocks, and go on; ``None``: it is done already.

        What is no lane waits until it is done.
        """
        if self.is_lane():
            thread = threading.Thread(target=act, name="smtp-admin-aside", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                thread.start()
                return thread
        act()
        return None

    def _here(self) -> _Shift[Wish] | None:
        """Return the shift if it is a lane of this crew that asks."""
        shift = self._shift
        if shift is None or shift.loop is None:
            return None
        return shift if getcurrent().parent is shift.loop else None

    def _wake(self) -> None:
        if self._shift is not None:
            with contextlib.suppress(BlockingIOError):  # it is being woken already
                self._shift.wake_writer.send(b"!")

    # --- for what writes --------------------------------------------------------------------------

    def is_writing(self) -> bool:
        """Tell whether it is the crew's writing that asks, and lanes can go on meanwhile."""
        shift = self._shift
        return shift is not None and _deals_with_database(shift, getcurrent())

    def until_events(self, number: int, wanted: int) -> int:
        """Let lanes go on until a file descriptor is ready, and return for what it is.

        For whom :meth:`is_writing` is true.
        """
        shift = self._shift
        assert shift is not None
        shift.overlaps = True
        return int(_wait(shift, number, wanted, _FOREVER))

    # --- the thread ---------------------------------------------------------------------------------

    def _work(self, shift: _Shift[Wish]) -> None:
        for end in (shift.wake_reader, shift.wake_writer):
            end.setblocking(False)
        shift.poller.register(shift.wake_reader.fileno(), READABLE)
        shift.loop = getcurrent()
        try:
            while not self._is_over(shift):
                self._turn(shift)
        except BaseException:
            logger.exception(
                "The thread that delivers failed. Another one begins with what is due next; what this "
                "one had in hand is taken back when its lease ends. Please report the traceback."
            )
            self._give_up(shift)
        finally:
            shift.close()

    def _is_over(self, shift: _Shift[Wish]) -> bool:
        if shift.lanes or self._ready:
            return False
        with self._lock:
            if self._ready:
                return False
            self._thread = self._shift = None
            return True

    def _turn(self, shift: _Shift[Wish]) -> None:
        """Let everybody go on who can; then write; then wait."""
        while self._ready:
            was_writing = shift.clerk is not None
            self._go_on(shift, self._ready.popleft())
            is_its_turn = was_writing and _is_idle(shift) and _are_several(shift)
            if is_its_turn and self._may_begin(shift):
                # The database begins with these while those go on whose wishes it has just written.
                self._write(shift)
        # Somebody may have got an answer meanwhile, whose outcome is then written with the others'.
        if self._look(shift, 0.0):
            return
        if shift.asides and shift.runner is None and self._may_begin(shift):
            self._send_runner(shift)
        elif shift.errands and shift.clerk is None and self._may_begin(shift):
            errands, shift.errands = shift.errands, []
            self._send_clerk(shift, lambda: self._run(errands))
        elif shift.wishes and shift.clerk is None and self._may_begin(shift):
            # What is written together costs little more than one alone. Where lanes go on while it
            # is written, who comes too late for it loses little either.
            are_enough = shift.overlaps or 2 * len(shift.wishes) >= len(shift.lanes)
            if are_enough or not self._look(shift, GATHER_SECONDS):
                self._write(shift)
        elif shift.lanes:
            self._look(shift, shift.next_timer - time.monotonic())

    def _may_begin(self, shift: _Shift[Wish]) -> bool:
        """Tell whether one more may deal with the database.

        Waiting for a connection keeps this thread, and with it whoever has the last one.
        """
        return (shift.clerk is None and shift.runner is None) or self._has_room()

    def _go_on(self, shift: _Shift[Wish], turn: _Turn | Callable[[], object]) -> None:
        if not isinstance(turn, _Turn):
            lane = greenlet(turn)
            # Whatever is set for this thread, a context of the application say, holds in its lanes.
            lane.gr_context = copy_context()
            shift.lanes.add(lane)
            lane.switch()
        elif turn.lane not in shift.lanes and not _deals_with_database(shift, turn.lane):
            return  # of a crew that failed; what it did aside came to its end all the same
        else:
            lane = turn.lane
            if turn.error is None:
                lane.switch(turn.value)
            else:
                lane.throw(turn.error)
        if lane.dead:
            shift.lanes.discard(lane)

    def _write(self, shift: _Shift[Wish]) -> None:
        # While one half waits for the database, the other half can talk to its servers.
        most = -(-len(shift.lanes) // 2) if shift.overlaps else len(shift.wishes)
        wishes, shift.wishes = shift.wishes[:most], shift.wishes[most:]
        self._send_clerk(shift, lambda: self._answer(shift, wishes))

    def _send_clerk(self, shift: _Shift[Wish], act: Callable[[], None]) -> None:
        """Have one of the crew deal with the database, while the others go on if they can."""

        def work() -> None:
            try:
                act()
            finally:
                shift.clerk = None

        shift.clerk = greenlet(work)
        shift.clerk.gr_context = copy_context()
        shift.clerk.switch()

    def _send_runner(self, shift: _Shift[Wish]) -> None:
        """Have one more of the crew deal with the database, beside the clerk if there is one."""

        def work() -> None:
            try:
                while shift.asides and (shift.clerk is None or self._has_room()):
                    errands, shift.asides = shift.asides, []
                    self._run(errands)
            finally:
                shift.runner = None

        shift.runner = greenlet(work)
        shift.runner.gr_context = copy_context()
        shift.runner.switch()

    def _run(self, errands: Sequence[tuple[greenlet, Callable[[], object]]]) -> None:
        for lane, act in errands:
            turn = _Turn(lane)
            try:
                turn.value = act()
            except BaseException as error:  # noqa: BLE001  (raised in the lane)
                turn.error = error
            self._ready.append(turn)

    def _answer(self, shift: _Shift[Wish], wishes: Sequence[tuple[greenlet, Wish]]) -> None:
        """Write, and let those go on who wanted it."""
        answers: Sequence[Answer | BaseException]
        try:
            answers = self._write_all([wish for _, wish in wishes])
        except BaseException as error:  # noqa: BLE001  (raised in the lanes)
            answers = [error] * len(wishes)
        for (lane, _), answer in zip(wishes, answers, strict=True):
            if isinstance(answer, BaseException):
                self._ready.append(_Turn(lane, error=answer))
            else:
                self._ready.append(_Turn(lane, value=answer))

    def _look(self, shift: _Shift[Wish], seconds: float) -> bool:
        """See who can go on, waiting so many seconds at most; tell whether there is anybody."""
        endless = seconds == _FOREVER
        for number, events in shift.poller.poll(None if endless else milliseconds(seconds)):
            waiting = shift.waiting.pop(number, None)
            if waiting is not None:
                shift.poller.unregister(number)
                self._ready.append(_Turn(waiting.lane, value=events))
            else:
                _empty(shift.wake_reader)
        # Only now: who was ready when the thread was busy elsewhere is not late.
        if time.monotonic() >= shift.next_timer:
            self._end_waits(shift)
        return bool(self._ready)

    def _end_waits(self, shift: _Shift[Wish]) -> None:
        now = time.monotonic()
        for number in [number for number, one in shift.waiting.items() if one.until <= now]:
            shift.poller.unregister(number)
            self._ready.append(_Turn(shift.waiting.pop(number).lane, value=0))
        for one in [one for one in shift.sleeping if one.until <= now]:
            shift.sleeping.remove(one)
            self._ready.append(_Turn(one.lane))
        times = [one.until for one in (*shift.waiting.values(), *shift.sleeping)]
        shift.next_timer = min(times, default=_FOREVER)

    def _give_up(self, shift: _Shift[Wish]) -> None:
        """End every lane, so that nobody counts on them any longer."""
        with self._lock:
            turns = list(self._ready)
            self._ready.clear()
            self._thread = self._shift = None
        # Outside the shift everything blocks, and so comes to its end.
        for turn in turns:
            if not isinstance(turn, _Turn):
                turn()
        # The clerk first: its transaction would lock out what the lanes have to write yet.
        clerks = [one for one in (shift.clerk, shift.runner) if one is not None]
        for lane in (*clerks, *shift.lanes):
            lane.throw()  # GreenletExit, which no lane takes for an error of its message


def _deals_with_database(shift: _Shift[Any], one: greenlet) -> bool:
    return one is shift.clerk or one is shift.runner


def _is_idle(shift: _Shift[Any]) -> bool:
    """Tell whether nobody is dealing with the database, nor is about to."""
    return shift.clerk is None and not shift.errands


def _are_several(shift: _Shift[Any]) -> bool:
    """Tell whether enough of the lanes want something written to begin with these."""
    return len(shift.wishes) > 1 and 4 * len(shift.wishes) >= len(shift.lanes)


def _switch(shift: _Shift[Wish]) -> Any:
    assert shift.loop is not None
    return shift.loop.switch()


def _wait(shift: _Shift[Any], number: int, wanted: int, until: float) -> Any:
    """Wait for a socket; return what it is ready for, 0 when the time is over."""
    shift.poller.register(number, wanted)
    shift.waiting[number] = _Waiting(getcurrent(), until)
    shift.next_timer = min(shift.next_timer, until)
    return _switch(shift)


def _empty(reader: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while reader.recv(4096):
            pass
