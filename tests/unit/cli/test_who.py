"""Where and who: profiles, tokens and the environment."""

import json
import stat
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.support.command_line import CommandLine, Said
from tests.support.pretended_service import (
    PASSWORD,
    USER,
    Fault,
    Service,
    a_challenge,
    a_token,
    problem,
)


def log_in(cli: CommandLine, service: Service, *more: str) -> Said:
    cli.env |= {"LCP_BACKUP_USER": USER, "LCP_BACKUP_PASSWORD": PASSWORD}
    said = cli("login", service.url, *more)
    cli.env.clear()
    return said


def test_a_login_keeps_the_token_for_this_user_alone_and_the_password_nowhere(
    stranger: CommandLine, service: Service
) -> None:
    said = log_in(stranger, service)
    assert said.code == 0, said.err
    assert f"You are {USER} (admin)" in said.out
    assert stat.S_IMODE(stranger.profiles.stat().st_mode) == 0o600
    assert stat.S_IMODE(stranger.profiles.parent.stat().st_mode) == 0o700
    everything = b"".join(it.read_bytes() for it in stranger.home.rglob("*") if it.is_file())
    assert next(iter(service.tokens)).encode() in everything
    assert PASSWORD.encode() not in everything
    assert stranger("whoami").code == 0


def test_a_token_from_stdin_needs_no_password(stranger: CommandLine, service: Service) -> None:
    (token,) = service.tokens
    said = stranger("login", service.url, "--token-stdin", "--json", stdin=f"{token}\n")
    assert said.json()["name"] == USER
    assert token not in said.out + said.err
    assert "POST /backup/login" not in service.asked


def test_a_wrong_password_or_token_is_kept_nowhere(stranger: CommandLine, service: Service) -> None:
    stranger.env |= {"LCP_BACKUP_USER": USER, "LCP_BACKUP_PASSWORD": "wrong"}
    said = stranger("login", service.url)
    assert (said.code, said.out) == (3, "")
    assert f"does not take the name {USER}" in said.err
    assert stranger("login", service.url, "--token-stdin", stdin="no-token\n").code == 3
    assert not stranger.profiles.exists()


def test_several_profiles_each_have_their_token_and_the_last_login_counts(
    stranger: CommandLine, service: Service
) -> None:
    assert log_in(stranger, service, "--profile", "prd").code == 0
    assert log_in(stranger, service, "--profile", "dev").code == 0
    assert "profile dev" in stranger("whoami").out
    assert "other profiles: prd" in stranger("whoami").out
    assert "profile prd" in stranger("whoami", "--profile", "prd").out
    assert stranger("logout", "--profile", "dev").code == 0
    assert "profile prd" in stranger("whoami").out
    said = stranger("whoami", "--profile", "dev")
    assert (said.code, "lcp-backup login URL --profile dev" in said.err) == (3, True)


def test_a_token_that_ran_out_says_so_and_how_to_go_on(
    stranger: CommandLine, service: Service
) -> None:
    stranger.logged_in(service.url, a_token(lives=-60))
    said = stranger("list", "--json")
    assert said.code == 3
    assert "ran out at" in said.err
    assert f"lcp-backup login {service.url} --profile default" in said.err
    assert said.json()["error"]["code"] == "token-expired"
    assert service.asked == []


@pytest.mark.parametrize("by", ["token", "password"])
def test_the_environment_is_enough_for_ci_and_leaves_no_file(
    stranger: CommandLine, service: Service, by: str
) -> None:
    stranger.env["LCP_BACKUP_URL"] = f"{service.url}/backup/"
    assert stranger("list").code == 3
    if by == "token":
        stranger.env["LCP_BACKUP_TOKEN"] = next(iter(service.tokens))
    else:
        stranger.env |= {"LCP_BACKUP_USER": USER, "LCP_BACKUP_PASSWORD": PASSWORD}
    assert stranger("list").code == 0
    assert not stranger.profiles.exists()


def test_a_token_from_the_environment_is_never_sent_to_a_profiles_address(
    lcp: CommandLine, service: Service
) -> None:
    lcp.env["LCP_BACKUP_TOKEN"] = "of another deployment"
    # Nor is the profile's deployment worked on in its place, where LCP_BACKUP_URL was misspelt.
    said = lcp("whoami")
    assert (said.code, service.asked) == (3, [])
    assert "LCP_BACKUP_TOKEN is set, and no LCP_BACKUP_URL" in said.err
    lcp.env["LCP_BACKUP_PROFILE"] = "default"
    assert lcp("whoami").code == 0
    lcp.env["LCP_BACKUP_URL"] = "http://127.0.0.1:1"
    assert lcp("whoami", "--profile", "default").code == 0
    assert service.asked == ["GET /backup/whoami"] * 2


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://backup.example.com", "would send your credential unencrypted"),
        ("https://ann:secret@backup.example.com", "would lie in your shell's history"),
        ("backup.example.com", "is no address of the service"),
    ],
)
def test_an_address_that_would_leak_is_refused_before_anything_is_sent(
    stranger: CommandLine, url: str, sentence: str
) -> None:
    said = stranger("login", url, "--token-stdin", stdin="x\n")
    assert (said.code, sentence in said.err) == (2, True)


@pytest.mark.parametrize(
    "behind", ["/", "/backup/", "/backup/list", "/console", "/console/#/backups", "#/runs"]
)
def test_the_consoles_address_and_that_of_a_call_are_good_enough_to_log_in(
    stranger: CommandLine, service: Service, behind: str
) -> None:
    stranger.env |= {"LCP_BACKUP_USER": USER, "LCP_BACKUP_PASSWORD": PASSWORD}
    said = stranger("login", service.url + behind, "--json")
    assert said.code == 0, said.err
    assert said.json()["url"] == service.url


@pytest.mark.parametrize(
    "url", ["", "abc.example.com", "https://[::1", "https://[abc]/", "https://a:b", "https://a b"]
)
def test_what_is_no_address_is_refused_with_what_one_looks_like(
    stranger: CommandLine, url: str
) -> None:
    said = stranger("login", url, "--user", USER)
    assert (said.code, said.out) == (2, "")
    assert "is no address of the service. It is the stack's output ApiUrl, such as" in said.err


@pytest.mark.parametrize("token", ["abc\ndef", "abc def", "tökén"])
def test_what_cannot_be_a_token_is_told_without_it(
    stranger: CommandLine, service: Service, token: str
) -> None:
    stranger.env |= {"LCP_BACKUP_URL": service.url, "LCP_BACKUP_TOKEN": token}
    said = stranger("list", "--debug", "--json")
    assert (said.code, "characters that no token has" in said.err) == (3, True)
    assert token not in said.err + said.out
    assert service.asked == []


def test_who_is_asked_for_a_code_and_has_no_terminal_is_told_what_else_there_is(
    stranger: CommandLine, service: Service
) -> None:
    service.challenges = [a_challenge("SOFTWARE_TOKEN_MFA")]
    said = log_in(stranger, service)
    assert (said.code, "--token-stdin" in said.err) == (2, True)
    assert not stranger.profiles.exists()


def test_a_challenge_that_the_service_refuses_ends_the_login_with_its_words(
    stranger: CommandLine, service: Service
) -> None:
    told = problem("challenge-unsupported", 403, "the user pool asks ann for DEVICE_SRP_AUTH")
    service.faults = [Fault("POST /backup/login", 403, told)]
    said = log_in(stranger, service)
    assert (said.code, "asks ann for DEVICE_SRP_AUTH" in said.err) == (4, True)


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring that is installed."""
    kept: dict[tuple[str, str], str] = {}
    module = ModuleType("keyring")
    module.__dict__.update(
        get_keyring=lambda: SimpleNamespace(priority=5),
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, password: kept.update({(service, name): password}),
        delete_password=lambda service, name: kept.pop((service, name)),
    )
    monkeypatch.setitem(sys.modules, "keyring", module)
    return kept


def test_where_there_is_a_keyring_the_token_is_there_and_in_no_file(
    stranger: CommandLine, service: Service, keyring: dict[tuple[str, str], str]
) -> None:
    assert "in the keyring" in log_in(stranger, service).out
    assert list(keyring.values()) == list(service.tokens)
    assert json.loads(stranger.profiles.read_text())["profiles"]["default"]["token"] is None
    assert stranger("whoami").code == 0
    stranger("logout")
    assert keyring == {}
