"""Tests of the queue: what it shows, what can be searched, and the acts on several messages."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from flask_smtp_admin import paging
from flask_smtp_admin.models import (
    BreakerState,
    Connection,
    ConnectionHealth,
    Message,
    MessageBody,
    Status,
)
from tests import rows
from tests.apps import MakeApp, engine_of
from tests.rows import NOW, later
from tests.web.lists import Stored, addresses, open_to, store, text_of

QUEUE = "/smtp-admin/queue/"


@pytest.fixture
def stored(app: Flask) -> Stored:
    open_to(app)
    return store(app)


# ---------------------------------------------------------------- what it shows


def test_it_has_the_columns(stored: Stored, client: FlaskClient) -> None:
    headings = re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', client.get(QUEUE).text)
    assert headings == [
        "ID",
        "Email",
        "Subject",
        "Last attempt date",
        "Next attempt date",
        "Attempts count",
        "Status",
        "Reason",
    ]


def test_a_row_explains_itself(stored: Stored, client: FlaskClient) -> None:
    page = text_of(client.get(QUEUE).text)
    assert (
        "Deferred Greylisted (451 4.7.1) at RCPT TO. "
        "Try 3 of 9, next in 14 min, gives up tomorrow 00:59."
    ) in page
    assert "bob@example.org +2 more" in page


def test_only_what_has_an_attempt_in_progress_is_being_sent(
    stored: Stored, client: FlaskClient
) -> None:
    claimed = rows.a_message(status=Status.SENDING, lease_until=later(minutes=9))
    rows.add(engine_of(stored.app), claimed)
    page = text_of(client.get(QUEUE).text)
    assert page.count("Being sent now: try 1 of 9.") == 1
    assert page.count("A worker has it; its turn comes next.") == 1
    pages = {
        one.id: client.get(f"/smtp-admin/messages/{one.id}") for one in (claimed, stored.sending)
    }
    assert "its turn comes next" in pages[claimed.id].text
    assert "Being sent now" in pages[stored.sending.id].text
    listed = stored.app.test_cli_runner().invoke(args=["smtp-admin", "queue", "list"]).output
    assert listed.count("its turn comes next") == 1


def test_the_next_attempt_waits_for_the_connection(stored: Stored, client: FlaskClient) -> None:
    with engine_of(stored.app).begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE smtp_admin_connection_health SET breaker='open', failing_since=:now,"
                " retry_at=:at, last_reason='The server does not answer.'"
            ),
            {"now": "2026-11-22 08:00:00.000000", "at": "2026-11-22 09:20:00.000000"},
        )
    page = text_of(client.get(QUEUE + "?q=to:bob").text)
    assert "in 20 min" in page
    assert "“Main” has been failing since 08:00: the server does not answer." in page


def test_tabs_count_what_they_show(stored: Stored, client: FlaskClient) -> None:
    page = text_of(client.get(QUEUE).text)
    assert "All unsent 5 Waiting 3 Held 1 Failed 1" in page
    assert addresses(client, QUEUE + "?tab=held") == ["erin@example.org"]
    assert addresses(client, QUEUE + "?tab=failed") == ["nobody@example.org"]
    assert len(addresses(client, QUEUE)) == 5


def test_a_tab_leaves_the_searched_states_behind(stored: Stored, client: FlaskClient) -> None:
    page = client.get(QUEUE + "?q=status:held+to:erin").text
    assert 'href="/smtp-admin/queue/?tab=waiting&amp;q=to:erin"' in page
    assert 'aria-current="page">All' not in page


def test_what_a_sender_wrote_is_never_markup(stored: Stored, client: FlaskClient) -> None:
    page = client.get(QUEUE).text
    assert "Held &lt;b&gt;back&lt;/b&gt;" in page
    assert "SECRET BODY" not in page


def test_an_empty_queue_says_what_will_be_here(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    page = text_of(client.get(QUEUE).text)
    assert "Nothing waits" in page
    assert "Messages appear here from the moment the application sends them" in page


# ---------------------------------------------------------------- searching


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=to:ann", ["ann@example.org"]),
        ("q=carol@example.org", ["bob@example.org"]),
        ("q=invoice", ["ann@example.org"]),
        ("q=code:550", ["nobody@example.org"]),
        ("q=connection:Bulk", ["erin@example.org"]),
        ("q=status:sent", ["hal@example.org"]),
        ("q=reason:GREYLIST&tab=waiting", ["ann@example.org"]),
    ],
)
def test_filters_are_in_the_address(
    stored: Stored, client: FlaskClient, query: str, found: list[str]
) -> None:
    assert addresses(client, f"{QUEUE}?{query}") == found


def test_the_connection_can_be_chosen(stored: Stored, client: FlaskClient) -> None:
    assert addresses(client, f"{QUEUE}?connection={stored.bulk.id}") == ["erin@example.org"]


def test_a_reason_is_found_as_its_row_shows_it(stored: Stored, client: FlaskClient) -> None:
    with engine_of(stored.app).begin() as connection:
        connection.execute(
            sa.update(ConnectionHealth)
            .where(ConnectionHealth.connection_id == stored.main.id)
            .values(
                breaker=BreakerState.OPEN,
                failing_since=later(hours=-1),
                retry_at=later(minutes=4),
                last_reason="No server listens on this port.",
            )
        )
    # The other one of "Main" is due after that connection's next try, so that it still shows its own.
    assert addresses(client, f"{QUEUE}?q=reason:PORT") == ["bob@example.org"]
    assert addresses(client, f"{QUEUE}?q=reason:failing*listens") == ["bob@example.org"]
    assert addresses(client, f"{QUEUE}?q=reason:greylist&tab=waiting") == ["ann@example.org"]
    with engine_of(stored.app).begin() as connection:
        connection.execute(sa.update(Connection).values(enabled=False))
        connection.execute(
            sa.update(Message).where(Message.id == stored.deferred.id).values(connection_id=None)
        )
    assert addresses(client, f"{QUEUE}?q=reason:disabled") == ["bob@example.org"]
    assert addresses(client, f'{QUEUE}?q=reason:"no connection"') == ["ann@example.org"]
    assert "1 message is held." in act(
        client, "hold", f"{QUEUE}?q=reason:disabled", all="1", newest=stored.sent.id
    )


def test_a_bare_word_that_finds_nothing_gets_a_hint(stored: Stored, client: FlaskClient) -> None:
    page = client.get(f"{QUEUE}?q=gina").text
    assert "For a recipient try to:gina ." in text_of(page)
    assert 'href="/smtp-admin/queue/?q=to:gina"' in page
    assert "For a recipient" not in client.get(f"{QUEUE}?q=to:nobody-else").text
    assert "For a recipient try to:gina ." in text_of(client.get("/smtp-admin/log/?q=gina").text)


def test_disabled_connections_are_marked_and_explained(stored: Stored, client: FlaskClient) -> None:
    with engine_of(stored.app).begin() as connection:
        connection.execute(
            sa.update(Connection).where(Connection.id == stored.bulk.id).values(enabled=False)
        )
    assert "Main Bulk (disabled)" in text_of(client.get(QUEUE).text)
    both = [stored.waiting.id, stored.deferred.id]
    assert (
        "2 messages were moved. That connection is disabled: they wait until it is enabled."
    ) in act(client, "move", id=both, to=stored.bulk.id)
    assert "disabled: " not in act(client, "move", id=both, to=stored.main.id)
    one = f"/smtp-admin/messages/{stored.waiting.id}"
    assert "The message was moved. That connection is disabled: it waits until" in act(
        client, "move", one, to=stored.bulk.id
    )


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ("connection=999", "There is no connection with the number “999”."),
        ("connection=x", "There is no connection with the number “x”."),
        ("connection=²", "There is no connection with the number “²”."),
        ("connection=" + "9" * 5000, "There is no connection with the number “" + "9" * 20 + "…”."),
        ("tab=nothing", "There is no tab “nothing” here."),
        ("tab=nothing&q=status:held", "There is no tab “nothing” here."),
    ],
)
def test_a_filter_that_names_nothing_matches_nothing(
    stored: Stored, client: FlaskClient, odd: str, sentence: str
) -> None:
    url = f"{QUEUE}?{odd}"
    page = text_of(client.get(url).text)
    assert f"The search was not run. {sentence}" in page
    assert "Clear" in page
    assert addresses(client, url) == []
    everything = {"all": "1", "newest": stored.sent.id, "shown": 9, "confirmed": "1"}
    for name in ("hold", "delete"):
        assert f"Nothing was changed. {sentence}" in act(client, name, url, **everything)
        assert f"Nothing was changed. {sentence}" in act(client, name, url, id=stored.waiting.id)
    assert stored.status(stored.waiting) is Status.QUEUED
    assert stored.status(stored.held) is Status.HELD


def test_the_filter_of_a_deleted_connection_does_not_widen_an_act(
    stored: Stored, client: FlaskClient
) -> None:
    url = f"{QUEUE}?connection={stored.bulk.id}"
    assert addresses(client, url) == ["erin@example.org"]
    with engine_of(stored.app).begin() as connection:
        connection.execute(
            sa.update(Message)
            .where(Message.connection_id == stored.bulk.id)
            .values(connection_id=stored.main.id)
        )
        connection.execute(
            sa.delete(ConnectionHealth).where(ConnectionHealth.connection_id == stored.bulk.id)
        )
        connection.execute(sa.delete(Connection).where(Connection.id == stored.bulk.id))
    said = act(client, "hold", url, all="1", newest=stored.sent.id)
    assert "It may have been deleted since." in said
    assert stored.status(stored.waiting) is Status.QUEUED


def test_a_search_that_is_not_understood_shows_nothing_and_says_why(
    stored: Stored, client: FlaskClient
) -> None:
    answer = client.get(QUEUE + "?q=form:ann")
    assert "The search was not run. “form:” is no search word. Did you mean “from:”?" in text_of(
        answer.text
    )
    assert addresses(client, QUEUE + "?q=form:ann") == []
    assert 'value="form:ann"' in answer.text
    client.post(QUEUE + "?q=form:ann", data={"act": "hold", "all": "1", "newest": "99"})
    assert stored.status(stored.waiting) is Status.QUEUED


def test_pages_follow_each_other_by_cursor(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    rows.add(engine_of(app), *(rows.a_message(f"u{n}@example.org") for n in range(60)))
    first = client.get(QUEUE + "?size=25&tab=waiting").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    assert "tab=waiting" in older[1]
    second_url = older[1].replace("&amp;", "&")
    assert addresses(client, second_url)[0] == "u34@example.org"
    newer = re.search(r'rel="prev" href="([^"]+)"', client.get(second_url).text)
    assert newer
    assert addresses(client, newer[1].replace("&amp;", "&"))[0] == "u59@example.org"


def test_an_odd_address_shows_the_first_page(stored: Stored, client: FlaskClient) -> None:
    cursors = ("before=x", "after=-1", "before=" + "9" * 40, "before=²")
    for odd in (*cursors, "size=7", "connection="):
        assert len(addresses(client, f"{QUEUE}?{odd}")) == 5


def test_a_long_search_stops_and_offers_to_go_on(
    stored: Stored, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 2)
    monkeypatch.setattr(paging, "RARE", 0)
    page = client.get(QUEUE + "?q=invoice").text
    assert "Search further back" in page
    assert "Nothing found so far." in page


# ---------------------------------------------------------------- acting


def act(client: FlaskClient, name: str, url: str = QUEUE, **fields: object) -> str:
    """Send the form of the list, and return what the next page says of it."""
    answer = client.post(url, data={"act": name, **fields})
    assert answer.status_code == 303
    return text_of(client.get(answer.location).text)


def test_selected_messages_are_acted_on(stored: Stored, client: FlaskClient) -> None:
    both = [stored.waiting.id, stored.deferred.id]
    assert "2 messages are held." in act(client, "hold", id=both)
    assert stored.status(stored.waiting) is stored.status(stored.deferred) is Status.HELD
    assert "2 messages were released." in act(client, "release", id=both)
    assert "2 messages were set to be tried at once." in act(client, "retry", id=both)
    assert stored.column(stored.deferred, Message.due_at) == NOW
    said = act(client, "move", id=both, to=stored.bulk.id)
    assert "2 messages were moved." in said
    assert stored.column(stored.waiting, Message.connection_id) == stored.bulk.id


def test_a_failed_message_can_be_retried(stored: Stored, client: FlaskClient) -> None:
    assert "1 message was set to be tried at once." in act(client, "retry", id=stored.failed.id)
    assert stored.status(stored.failed) is Status.QUEUED


def test_what_does_not_fit_is_counted_and_explained(stored: Stored, client: FlaskClient) -> None:
    said = act(client, "hold", id=[stored.waiting.id, stored.held.id, stored.sent.id])
    assert "1 of 3 messages is held. Only waiting messages can be held." in said
    assert "Nothing was changed. Only held messages can be released." in act(
        client, "release", id=stored.sent.id
    )


def test_nothing_selected_changes_nothing(stored: Stored, client: FlaskClient) -> None:
    assert "Nothing was changed: no message was selected." in act(client, "retry")
    assert "choose the connection" in act(client, "move", id=stored.waiting.id, to="")
    assert "There is no connection 999" in act(client, "move", id=stored.waiting.id, to="999")


def test_an_unknown_act_is_refused(stored: Stored, client: FlaskClient) -> None:
    assert client.post(QUEUE, data={"act": "explode", "id": "1"}).status_code == 400
    assert client.post(QUEUE, data={"id": "1"}).status_code == 400


@pytest.mark.parametrize("odd", ["x", "-1", "1.5", "9" * 19, "9" * 400, "9" * 5000])
@pytest.mark.parametrize("field", ["id", "newest", "shown", "to"])
def test_what_is_no_number_of_a_row_is_refused(
    stored: Stored, client: FlaskClient, field: str, odd: str
) -> None:
    sent = {"act": "move", "all": "1", "newest": "1", "to": "1", field: odd}
    assert client.post(QUEUE, data=sent).status_code == 400


def test_all_that_match_means_the_filter_of_the_page(stored: Stored, client: FlaskClient) -> None:
    newest = stored.sent.id
    url = QUEUE + "?q=to:bob"
    assert "1 message is held." in act(client, "hold", url, all="1", newest=newest)
    assert stored.status(stored.waiting) is Status.HELD
    assert stored.status(stored.deferred) is Status.QUEUED


def test_all_that_match_leaves_out_what_came_later(stored: Stored, client: FlaskClient) -> None:
    later_one = rows.a_message("new@example.org", connection_id=stored.main.id)
    rows.add(engine_of(stored.app), later_one)
    act(client, "hold", QUEUE, all="1", newest=stored.sent.id)
    assert stored.status(stored.waiting) is Status.HELD
    assert stored.status(later_one) is Status.QUEUED


def test_deleting_asks_with_the_number(stored: Stored, client: FlaskClient) -> None:
    chosen = [stored.waiting.id, stored.held.id, stored.sent.id]
    question = client.post(QUEUE, data={"act": "delete", "id": chosen})
    assert question.status_code == 200
    page = text_of(question.text)
    assert "Delete 2 unsent messages?" in page
    assert "others of the 3 selected" in page
    assert stored.status(stored.waiting) is Status.QUEUED
    fields = re.findall(r'name="(act|confirmed|id|all|newest)" value="([^"]*)"', question.text)
    answer = client.post(QUEUE, data=_multi(fields))
    assert answer.status_code == 303
    assert "2 of 3 messages were deleted." in text_of(client.get(answer.location).text)
    assert stored.status(stored.waiting) is stored.status(stored.held) is Status.DELETED
    assert stored.status(stored.sent) is Status.SENT
    with engine_of(stored.app).connect() as connection:
        left = connection.scalars(sa.select(MessageBody.message_id)).all()
    assert stored.waiting.id not in left


def _multi(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found


def test_deleting_all_that_match_counts_them(stored: Stored, client: FlaskClient) -> None:
    form = {"act": "delete", "all": "1", "newest": stored.sent.id}
    assert "Delete 4 unsent messages?" in text_of(client.post(QUEUE, data=form).text)
    assert "Delete 1 unsent message?" in text_of(client.post(QUEUE + "?tab=held", data=form).text)
    assert "None of them can be deleted" in text_of(
        client.post(QUEUE + "?q=status:sent", data=form).text
    )
    answer = client.post(QUEUE + "?tab=held", data={**form, "confirmed": "1", "shown": "1"})
    assert answer.location.endswith("tab=held")
    assert stored.status(stored.held) is Status.DELETED
    assert stored.status(stored.waiting) is Status.QUEUED


def test_deleting_asks_again_when_more_match_than_were_shown(
    stored: Stored, client: FlaskClient
) -> None:
    url = QUEUE + "?tab=held"
    form = {"act": "delete", "all": "1", "newest": stored.sent.id}
    question = client.post(url, data=form).text
    fields = dict(re.findall(r'name="(act|confirmed|all|newest|shown)" value="([^"]*)"', question))
    assert fields["shown"] == "1"
    act(client, "hold", QUEUE, id=stored.waiting.id)
    again = client.post(url, data=fields)
    assert "Delete 2 unsent messages? More match now" in text_of(again.text)
    assert 'name="shown" value="2"' in again.text
    without = {name: value for name, value in fields.items() if name != "shown"}
    assert "Delete 2 unsent messages?" in text_of(client.post(url, data=without).text)
    assert stored.status(stored.held) is stored.status(stored.waiting) is Status.HELD
    assert client.post(url, data={**fields, "shown": "2"}).status_code == 303
    assert stored.status(stored.held) is stored.status(stored.waiting) is Status.DELETED


# ---------------------------------------------------------------- who may


def test_looking_is_not_steering(app: Flask, client: FlaskClient) -> None:
    open_to(app, "view")
    stored = store(app)
    page = client.get(QUEUE).text
    assert "Retry now" not in page
    assert 'type="checkbox"' not in page
    assert client.post(QUEUE, data={"act": "hold", "id": stored.waiting.id}).status_code == 403
    assert stored.status(stored.waiting) is Status.QUEUED


def test_a_form_without_its_token_changes_nothing(app: Flask, client: FlaskClient) -> None:
    open_to(app)
    app.config["WTF_CSRF_ENABLED"] = True
    stored = store(app)
    answer = client.post(QUEUE, data={"act": "hold", "id": stored.waiting.id})
    assert answer.status_code == 400
    assert "Reload" in answer.text
    assert stored.status(stored.waiting) is Status.QUEUED


def test_times_are_exact_in_the_source(stored: Stored, client: FlaskClient) -> None:
    page = client.get(QUEUE).text
    at = later(minutes=14)
    assert f'datetime="{at:%Y-%m-%dT%H:%M:%SZ}"' in page


def test_a_time_at_the_end_of_the_calendar_breaks_no_page(make_app: MakeApp) -> None:
    app = make_app(SMTP_ADMIN_TIMEZONE="Asia/Tokyo")
    open_to(app)
    connection = rows.a_connection()
    rows.add(engine_of(app), connection)
    end = datetime.max.replace(tzinfo=timezone.utc)
    for more in ({}, {"last_attempt_at": NOW, "reason": "Greylisted.", "expires_at": end}):
        rows.add(engine_of(app), rows.a_message(connection_id=connection.id, due_at=end, **more))
    client = app.test_client()
    assert "31 Dec 9999" in client.get(QUEUE).text
    for number in (1, 2):
        assert client.get(f"/smtp-admin/messages/{number}").status_code == 200
