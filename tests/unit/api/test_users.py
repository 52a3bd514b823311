"""Who is calling: what is taken, what is refused, and what the log says of it."""

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from aws_lambda_powertools import Logger
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.errors import AwsError, Throttled
from lcp_backup_api.refusals import NotAMember, Unauthenticated
from lcp_backup_api.users import Caller, Groups, Role, Users
from tests.support.clock import SettableClock
from tests.support.door import (
    CLIENT,
    ISSUER,
    KEY,
    MASTER,
    OTHER_KEY,
    PASSWORD,
    Door,
    basic,
    by_hand,
    claims,
    jwk,
    token,
)

ROTATED = "rotated-0123456789-0123456789-0123456789"


@pytest.fixture
def door(clock: SettableClock) -> Door:
    return Door(clock)


# --- access tokens ------------------------------------------------------------


def test_an_access_token_is_taken_from_either_header(door: Door) -> None:
    expected = Caller("ann@acme.com", Role.VIEWER, "access token")
    assert door.admits(f"Bearer {token()}") == expected
    assert door.admits(None, f"bearer {token()}") == expected
    assert door.pool.keys_asked == 1
    assert not door.secret.asked


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["viewers"], Role.VIEWER),
        (["viewers", "Admins", "admins2"], Role.VIEWER),
        (["admins"], Role.ADMIN),
        (["viewers", "admins"], Role.ADMIN),
    ],
)
def test_only_the_group_admins_makes_an_admin(door: Door, groups: list[str], role: Role) -> None:
    assert door.admits(None, f"Bearer {token(groups=groups)}").role is role


@pytest.mark.parametrize(
    "groups", [None, [], ["Viewers", "viewers2", "readers"], [["viewers"]], [{"viewers": 1}]]
)
def test_a_user_of_the_pool_in_neither_group_is_known_and_may_do_nothing(
    door: Door, groups: Any
) -> None:
    door.pool.groups = groups
    for sent in (f"Bearer {token(groups=groups)}", basic("ann@acme.com", PASSWORD)):
        with pytest.raises(NotAMember, match="ann@acme.com is in neither.*'viewers' and 'admins'"):
            door.admits(sent)
    assert {line["message"] for line in door.log_lines()} == {"a caller was refused"}


def test_the_groups_have_the_names_that_were_given(door: Door) -> None:
    door.users = Users(
        door.pool, door.secret, Logger(), door.clock, Groups(viewers="staff", admins="backup-ops")
    )
    assert door.admits(f"Bearer {token(groups=['staff'])}").role is Role.VIEWER
    assert door.admits(f"Bearer {token(groups=['backup-ops'])}").role is Role.ADMIN
    with pytest.raises(NotAMember):
        door.admits(f"Bearer {token(groups=['viewers', 'admins'])}")


def _public_pem() -> bytes:
    return KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _hs256_by_the_public_key() -> str:
    # The library refuses to make such a token, so it is made by hand.
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    unsigned = by_hand(b'{"alg":"HS256","kid":"k1"}', claims()).rpartition(".")[0]
    signature = hmac.digest(_public_pem(), unsigned.encode(), hashlib.sha256)
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _changed_after_signing() -> str:
    header, _, signature = token().split(".")
    forged = json.dumps(claims(groups=["admins"])).encode()
    return f"{header}.{base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}.{signature}"


NOW = int(time.time())
FORGED: dict[str, Callable[[], str]] = {
    "no algorithm": lambda: token(None, alg="none"),
    "no algorithm and a signature": lambda: by_hand(b'{"alg":"none","kid":"k1"}', claims()),
    "HS256 by the public key": _hs256_by_the_public_key,
    "RS512": lambda: token(alg="RS512"),
    "another pool": lambda: token(iss=ISSUER + "2"),
    "another pool's key": lambda: token(OTHER_KEY, kid="k2"),
    "another key by this key's id": lambda: token(OTHER_KEY),
    "claims changed after signing": _changed_after_signing,
    "another client": lambda: token(client_id="another"),
    "groups in one text": lambda: token(groups="not-admins-at-all"),
    "groups in an object": lambda: token(groups={"admins": True}),
    "a name that is a list": lambda: token(username=["ann@acme.com"]),
    "a client's own token": lambda: token(username=None, sub=CLIENT, scope="backups/all"),
    "clients in a list": lambda: token(client_id=[CLIENT]),
    "uses in a list": lambda: token(token_use=["access", "id"]),
    "an id token": lambda: token(token_use="id", aud=CLIENT),
    "an id token with a client": lambda: token(token_use="id"),
    "expired": lambda: token(iat=NOW - 7200, exp=NOW - 3600),
    "not yet valid": lambda: token(nbf=NOW + 3600),
    "issued in the future": lambda: token(iat=NOW + 3600, exp=NOW + 7200),
    "no expiry": lambda: token(exp=None),
    "no issuer": lambda: token(iss=None),
    "no client": lambda: token(client_id=None),
    "no use": lambda: token(token_use=None),
    "no key id": lambda: token(kid=None),
    "a key id with a path": lambda: token(kid="../../../../etc/passwd"),
    "a key id that is a URL": lambda: token(OTHER_KEY, kid="https://evil.example/jwks.json"),
    "a key id that is a list": lambda: by_hand(b'{"alg":"RS256","kid":["k1"]}', claims()),
    "a key of its own": lambda: jwt.encode(
        claims(), OTHER_KEY, "RS256", headers={"kid": "k1", "jwk": jwk(OTHER_KEY, "k1")}
    ),
    "an unknown critical header": lambda: jwt.encode(
        claims(), KEY, "RS256", headers={"kid": "k1", "crit": ["x"], "x": 1}
    ),
    "a header that is a list": lambda: by_hand(b"[]", claims()),
    "a header nested deep": lambda: by_hand(b"[" * 700, claims()),
    "a header of 8 kB": lambda: by_hand(b'{"alg":"RS256","a":"' + b"x" * 8000 + b'"}', claims()),
    "not JSON": lambda: by_hand(b"\xff\xfe", claims()),
    "too few dots": lambda: token().rpartition(".")[0],
    "too many dots": lambda: token() + ".a.b",
    "10 MB": lambda: "a" * 10_000_000,
    "10 MB of a token": lambda: token() + "a" * 10_000_000,
    "a line break": lambda: token() + "\n",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_or_foreign_token_is_refused_in_either_header(
    door: Door, forged: Callable[[], str]
) -> None:
    said = door.refuses(f"Bearer {forged()}")
    assert door.refuses(None, f"Bearer {forged()}") == said == str(Unauthenticated())
    assert len(door.log_lines()) == 2
    assert door.pool.keys_asked <= 1


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "Digest"])
def test_more_than_the_gateway_passes_is_refused_unread(door: Door, scheme: str) -> None:
    header, payload, signature = token().split(".")
    for sent in ("a" * 10_240, f"{header}.{payload * 40}.{signature}"):
        door.refuses(f"{scheme} {sent}")
        door.refuses(None, f"{scheme} {sent}")
    assert {line["reason"] for line in door.log_lines()} == {"the header is too long"}
    assert door.pool.keys_asked == door.secret.asked == 0


def test_what_has_not_a_tokens_form_is_not_parsed_as_one(door: Door) -> None:
    for sent in (by_hand(b"[" * 7000, {}), "a.b", "a..b", "a.b.c.d", "a.b.c="):
        door.refuses(None, f"Bearer {sent}")
    assert {line["reason"] for line in door.log_lines()} == {"no token of the user pool"}


def test_a_key_that_came_after_the_process_began_is_found(door: Door) -> None:
    door.admits(f"Bearer {token()}")
    door.pool.keys.append(jwk(OTHER_KEY, "k2"))
    door.clock.pass_by(timedelta(seconds=61))
    door.admits(f"Bearer {token(OTHER_KEY, kid='k2')}")
    assert door.pool.keys_asked == 2


def test_made_up_key_ids_reach_the_pool_once_a_minute(door: Door) -> None:
    for number in range(20):
        door.refuses(f"Bearer {token(OTHER_KEY, kid=f'made-up-{number}')}")
    assert door.pool.keys_asked == 1
    door.clock.pass_by(timedelta(seconds=61))
    door.refuses(f"Bearer {token(OTHER_KEY, kid='made-up')}")
    assert door.pool.keys_asked == 2


def test_without_the_pools_keys_nobody_is_let_in_or_called_wrong(door: Door) -> None:
    door.pool.unreachable = True
    for header in (f"Bearer {token()}", f"Bearer {token(OTHER_KEY)}", basic("ann", PASSWORD)):
        with pytest.raises(AwsError):
            door.admits(header)
    door.pool.unreachable = False
    assert door.admits(f"Bearer {token()}")


def test_a_failing_search_for_a_new_key_leaves_the_known_ones_usable(door: Door) -> None:
    door.admits(f"Bearer {token()}")
    door.pool.unreachable = True
    door.clock.pass_by(timedelta(seconds=61))
    with pytest.raises(AwsError):
        door.admits(f"Bearer {token(OTHER_KEY, kid='k2')}")
    assert door.admits(f"Bearer {token()}")


@pytest.mark.parametrize("broken", [{"n": "!"}, {"e": None}, {"n": ""}])
def test_keys_that_are_no_keys_are_not_the_callers_fault(
    door: Door, broken: dict[str, Any]
) -> None:
    door.pool.keys = [{**jwk(KEY, "k1"), **broken}]
    with pytest.raises(AwsError):
        door.admits(f"Bearer {token()}")


# --- the master token ---------------------------------------------------------


def test_the_master_token_makes_an_admin_in_authorization_only(door: Door) -> None:
    assert door.admits(f"Bearer {MASTER}") == Caller(
        "project master token", Role.ADMIN, "master token"
    )
    assert door.refuses(None, f"Bearer {MASTER}") == str(Unauthenticated())
    door.refuses(basic("project master token", MASTER))


@pytest.mark.parametrize("wrong", [MASTER[:-1], MASTER + "0", MASTER.lower(), "x"])
def test_almost_the_master_token_is_refused(door: Door, wrong: str) -> None:
    door.refuses(f"Bearer {wrong}")


@pytest.mark.parametrize("value", [None, "", " ", "\n"])
def test_without_a_master_token_none_is_taken(door: Door, value: str | None) -> None:
    door.secret.value = value
    for sent in ("Bearer ", "Bearer None", "Bearer x", "Bearer"):
        door.refuses(sent)


def test_a_master_token_made_with_a_line_break_is_taken(door: Door) -> None:
    door.secret.value = MASTER + "\n"
    assert door.admits(f"Bearer {MASTER}").role is Role.ADMIN


def test_a_master_token_of_a_tokens_form_is_taken(door: Door) -> None:
    door.secret.value = token(OTHER_KEY)
    assert door.admits(f"Bearer {door.secret.value}").how == "master token"


def test_a_rotated_master_token_is_taken_after_five_minutes_and_the_old_one_no_more(
    door: Door,
) -> None:
    door.admits(f"Bearer {MASTER}")
    door.secret.value = ROTATED
    door.refuses(f"Bearer {ROTATED}")
    assert door.secret.asked == 1
    door.clock.pass_by(timedelta(minutes=5))
    assert door.admits(f"Bearer {ROTATED}").role is Role.ADMIN
    door.refuses(f"Bearer {MASTER}")
    assert door.secret.asked == 2


def test_users_come_in_while_the_master_token_cannot_be_read(door: Door) -> None:
    door.secret.failing = True
    assert door.admits(f"Bearer {token()}")
    with pytest.raises(AwsError):
        door.admits(f"Bearer {MASTER}")
    door.secret.failing = False
    assert door.admits(f"Bearer {MASTER}")


@pytest.mark.parametrize("value", ["x", "x" * 31, " " + "x" * 31 + "\n"])
def test_a_master_token_under_32_characters_is_never_taken_and_the_log_says_why(
    door: Door, value: str
) -> None:
    door.secret.value = value
    door.refuses(f"Bearer {value.strip()}")
    error, _refusal = door.log_lines()
    assert error["level"] == "ERROR"
    assert "shorter than 32 characters" in error["message"]
    assert value.strip() not in error["message"]


def test_after_20_wrong_tokens_in_a_minute_their_address_is_not_listened_to(door: Door) -> None:
    for number in range(20):
        door.refuses(f"Bearer wrong-{number}", source="192.0.2.1")
    # Not even to the right one: a guess must learn nothing.
    door.holds_off(f"Bearer {MASTER}", source="192.0.2.1")
    door.holds_off("Bearer wrong", source="192.0.2.1")
    assert door.log_lines()[-1]["message"] == "a caller was refused"
    assert door.admits(f"Bearer {MASTER}", source="192.0.2.2").role is Role.ADMIN
    assert door.admits(f"Bearer {token()}", source="192.0.2.1").role is Role.VIEWER
    assert door.admits(basic("ann", PASSWORD), source="192.0.2.1").role is Role.ADMIN
    door.clock.pass_by(timedelta(seconds=61))
    assert door.admits(f"Bearer {MASTER}", source="192.0.2.1").role is Role.ADMIN


def test_a_client_that_goes_on_with_an_expired_token_learns_that_and_is_no_guesser(
    door: Door,
) -> None:
    expired = token(iat=NOW - 7200, exp=NOW - 3600)
    for _ in range(30):
        door.refuses(f"Bearer {expired}", source="192.0.2.1")
    assert door.admits(f"Bearer {MASTER}", source="192.0.2.1").role is Role.ADMIN


def test_after_20_wrong_logins_in_a_minute_the_pool_is_not_asked_for_their_address(
    door: Door,
) -> None:
    door.admits(basic("bob", PASSWORD), source="192.0.2.1")
    for number in range(20):
        door.refuses(basic(f"user{number}", "Summer2026"), source="192.0.2.1")
    asked = len(door.pool.logins_asked)
    door.holds_off(basic("ann", PASSWORD), source="192.0.2.1")
    assert door.admits(basic("bob", PASSWORD), source="192.0.2.1").name == "bob"
    assert len(door.pool.logins_asked) == asked
    assert door.admits(basic("ann", PASSWORD), source="192.0.2.2").name == "ann"
    door.clock.pass_by(timedelta(seconds=61))
    assert door.admits(basic("ann", PASSWORD), source="192.0.2.1").name == "ann"


def test_what_is_kept_of_who_guesses_is_bounded(door: Door) -> None:
    for _ in range(20):
        door.refuses("Bearer wrong", source="first")
    for number in range(1024):
        door.refuses("Bearer wrong", source=f"2001:db8::{number:x}")
    # Forgotten, as documented; and the latest is not.
    door.refuses("Bearer wrong", source="first")
    for _ in range(19):
        door.refuses("Bearer wrong", source="2001:db8::3ff")
    door.holds_off("Bearer wrong", source="2001:db8::3ff")


# --- name and password --------------------------------------------------------


def test_a_name_and_password_are_checked_by_the_pool(door: Door) -> None:
    assert door.admits(basic("ann@acme.com", PASSWORD)) == Caller(
        "ann@acme.com", Role.ADMIN, "basic"
    )


def test_a_right_password_is_asked_for_once_a_minute(door: Door) -> None:
    for _ in range(5):
        door.admits(basic("ann", PASSWORD))
    assert door.pool.logins_asked == ["ann"]
    door.pool.groups = ["viewers"]
    door.clock.pass_by(timedelta(seconds=60))
    assert door.admits(basic("ann", PASSWORD)).role is Role.VIEWER
    assert door.pool.logins_asked == ["ann", "ann"]


def test_a_wrong_password_is_asked_for_each_time_also_after_a_right_one(door: Door) -> None:
    door.admits(basic("ann", PASSWORD))
    door.refuses(basic("ann", "wrong"))
    door.refuses(basic("ann", "wrong"))
    assert door.pool.logins_asked == ["ann", "ann", "ann"]


def test_one_users_password_is_not_anothers(door: Door) -> None:
    assert door.admits(basic("ann", PASSWORD)).name == "ann"
    assert door.admits(basic("bob", PASSWORD)).name == "bob"
    # The same letters, parted elsewhere.
    assert door.admits(basic("an", PASSWORD)).name == "an"
    door.refuses(basic("an", "n" + PASSWORD))


def test_what_is_kept_of_logins_is_bounded(door: Door) -> None:
    for number in range(257):
        door.admits(basic(f"user{number}", PASSWORD))
    door.admits(basic("user256", PASSWORD))
    assert len(door.pool.logins_asked) == 257
    door.admits(basic("user0", PASSWORD))
    assert door.pool.logins_asked[-1] == "user0"


def test_a_throttled_login_is_no_wrong_password(door: Door) -> None:
    with pytest.raises(Throttled):
        door.admits(basic("busy", PASSWORD))


def encoded(raw: bytes) -> str:
    return "Basic " + base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic YW5u",  # no colon
        "Basic YW5uOnB3",
        "Basic YW5uOnB3====",
        "Basic YW5u OnB3",
        "Basic ann:pw",
        "BasicYW5uOnB3",
        "Basic YW5uOnB3\n",
        "Basic YW5uOnB3, Basic YW5uOnB3",
        "Digest username=ann",
        "Negotiate YW5uOnB3",
        "",
        " ",
        "\0",
        "Basic ä",
        "Bäsic YW5uOnB3",
        encoded(b":pw"),
        encoded(b"ann:"),
        encoded(b":"),
        encoded(b""),
        encoded(b"ann\0:pw"),
        encoded(b"ann:p\0w"),
        encoded(b"ann\r\nx: y:pw"),
        encoded(b"ann:\x7f"),
        encoded("ann:\x85".encode()),
        encoded(b"\xff\xfe:pw"),
        encoded("änn:pw".encode("latin-1")),
        encoded("änn:pw".encode("utf-16")),
        encoded(b"a" * 129 + b":pw"),
        encoded(b"ann:" + b"p" * 257),
        encoded(b"a" * 5_000_000 + b":pw"),
    ],
    ids=lambda header: ascii(header)[:40],
)
def test_a_malformed_credential_is_refused_like_a_wrong_one(door: Door, header: str) -> None:
    wrong = door.refuses(basic("ann", "wrong"))
    if header != "Basic YW5uOnB3":  # well-formed, and wrong
        asked = len(door.pool.logins_asked)
        assert door.refuses(header) == wrong
        assert len(door.pool.logins_asked) == asked
    assert door.refuses(None, header) == wrong


@given(st.text(max_size=200), st.sampled_from(["", "Basic ", "Bearer ", "Bearer a."]))
def test_whatever_a_header_holds_is_refused_in_the_same_way(text: str, scheme: str) -> None:
    door = Door(SettableClock())
    assert door.refuses(scheme + text) == door.refuses(None, scheme + text)


# --- both headers, and none ---------------------------------------------------


def test_dxpcloud_authorization_alone_decides_where_it_is_there(door: Door) -> None:
    assert door.admits("Basic of-a-proxy", f"Bearer {token()}").how == "access token"
    assert door.admits(f"Bearer {MASTER}", f"Bearer {token()}").role is Role.VIEWER
    for wrong in ("", "Bearer", "Bearer wrong", basic("ann", PASSWORD), f"Basic {token()}"):
        door.refuses(f"Bearer {MASTER}", wrong)
    assert not door.pool.logins_asked


def test_without_credentials_the_answer_is_the_same_and_nothing_is_logged(door: Door) -> None:
    assert door.refuses(None) == door.refuses(basic("ann", "wrong"))
    assert len(door.log_lines()) == 1


# --- the log ------------------------------------------------------------------


def test_a_refused_login_leaves_one_line_that_names_the_user_and_no_secret(door: Door) -> None:
    door.refuses(basic("ann@acme.com", "hunter2000"))
    (line,) = door.log_lines()
    assert line["message"] == "a credential was refused"
    assert line["header"] == "Authorization"
    assert line["reason"] == "login of ann@acme.com: NotAuthorizedException"
    assert "hunter2000" not in door.written.getvalue()


@pytest.mark.parametrize(
    "name", ["my secret pass phrase", "x" * 65, "{json}", "пароль", "$ecret!", "-rf", "a@b@c"]
)
def test_what_does_not_look_like_a_user_name_is_not_logged(door: Door, name: str) -> None:
    door.refuses(basic(name, "wrong"))
    (line,) = door.log_lines()
    assert line["reason"] == "login of (not shown): NotAuthorizedException"


def test_no_credential_is_ever_logged(door: Door) -> None:
    sent = [token(OTHER_KEY), "secret-token-1", base64.b64encode(b"ann:hunter2000").decode()]
    door.refuses(f"Bearer {sent[0]}")
    door.refuses(f"Bearer {sent[1]}")
    door.refuses(f"Basic {sent[2]}")
    door.refuses(f"Digest {sent[1]}")
    door.refuses(None, f"Bearer {sent[1]}")
    assert len(door.log_lines()) == 5
    for secret in (*sent, "hunter2000", MASTER):
        assert secret not in door.written.getvalue()
