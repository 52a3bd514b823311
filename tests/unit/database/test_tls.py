"""TLS to the database, as far as no server is needed: modes, authorities, options of programs."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from pydantic import SecretStr

from lcp_backup.composition import Environment
from lcp_backup.database import tls
from lcp_backup.database.dump_program import DumpProgram, tls_options
from lcp_backup.database.endpoint import Flavour
from lcp_backup.errors import SettingsError
from lcp_backup.service import Service
from lcp_backup.setting_values import DatabaseTls
from lcp_backup.settings import Settings

BUNDLE = tls.RDS_CA.read_text(encoding="ascii")
MARIADB_OLD = DumpProgram(Path("mariadb-dump"), Flavour.MARIADB, "10.11.19")
MARIADB_NEW = DumpProgram(Path("mariadb-dump"), Flavour.MARIADB, "11.8.9")
MYSQL_OLD = DumpProgram(Path("mysqldump"), Flavour.MYSQL, "5.7.44")
MYSQL_NEW = DumpProgram(Path("mysqldump"), Flavour.MYSQL, "9.7.4")
ENCRYPTS = ("ssl=1", "ssl-verify-server-cert=0")
VERIFIES = ("ssl=1", "ssl-verify-server-cert=1", 'ssl-ca="/t/ca.pem"')
NEITHER = ("ssl=0", "ssl-verify-server-cert=0")
KEY = "get-server-public-key"


@pytest.mark.parametrize(
    ("program", "mode", "encrypted", "options"),
    [
        *(
            (program, mode, encrypted, options)
            for program in (MARIADB_OLD, MARIADB_NEW)
            for mode, encrypted, options in (
                (DatabaseTls.VERIFY_IDENTITY, True, VERIFIES),
                (DatabaseTls.VERIFY_IDENTITY, False, VERIFIES),
                (DatabaseTls.REQUIRED, True, ENCRYPTS),
                (DatabaseTls.REQUIRED, False, ENCRYPTS),
                (DatabaseTls.PREFERRED, True, ENCRYPTS),
                (DatabaseTls.PREFERRED, False, NEITHER),
                (DatabaseTls.DISABLED, True, NEITHER),
                (DatabaseTls.DISABLED, False, NEITHER),
            )
        ),
        *(
            (MYSQL_NEW, mode, encrypted, options)
            for mode, encrypted, options in (
                (
                    DatabaseTls.VERIFY_IDENTITY,
                    False,
                    ("ssl-mode=VERIFY_IDENTITY", 'ssl-ca="/t/ca.pem"'),
                ),
                (DatabaseTls.REQUIRED, False, ("ssl-mode=REQUIRED", KEY)),
                (DatabaseTls.PREFERRED, True, ("ssl-mode=REQUIRED", KEY)),
                (DatabaseTls.PREFERRED, False, ("ssl-mode=DISABLED", KEY)),
                (DatabaseTls.DISABLED, True, ("ssl-mode=DISABLED", KEY)),
            )
        ),
        # What a program does not know is fatal in an options file.
        (MYSQL_OLD, DatabaseTls.DISABLED, False, ("ssl-mode=DISABLED",)),
    ],
)
def test_a_program_is_told_what_the_setting_says(
    program: DumpProgram, mode: DatabaseTls, encrypted: bool, options: tuple[str, ...]
) -> None:
    assert tls_options(program, mode, encrypted=encrypted, ca=Path("/t/ca.pem")) == options


@pytest.mark.parametrize(
    ("host", "is_rds"),
    [
        ("liferay.abc.eu-central-1.rds.amazonaws.com", True),
        ("LIFERAY.cluster-ro-abc.us-east-1.RDS.amazonaws.com.", True),
        ("liferay.abc.cn-north-1.rds.amazonaws.com.cn", True),
        ("rds.amazonaws.com.example.com", False),
        ("notrds.amazonaws.com", False),
        ("10.0.0.7", False),
    ],
)
def test_an_endpoint_of_rds_is_known_by_its_name(host: str, is_rds: bool) -> None:
    assert tls.is_rds_host(host) is is_rds


def test_the_bundle_is_amazons_and_none_of_it_has_expired() -> None:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.load_verify_locations(cadata=BUNDLE)
    # (The context drops what it is given twice, and lists nothing but authorities.)
    authorities = found.get_ca_certs()
    assert len(authorities) == BUNDLE.count("BEGIN CERTIFICATE")
    names = set()
    for authority in authorities:
        subject = {str(name[0][0]): str(name[0][1]) for name in authority["subject"]}
        assert authority["subject"] == authority["issuer"], subject
        expires = ssl.cert_time_to_seconds(str(authority["notAfter"]))
        assert datetime.fromtimestamp(expires, UTC) > datetime.now(UTC), subject
        names.add(subject["commonName"])
    regional = {name for name in names if name.startswith("Amazon RDS ")}
    assert names - regional == {
        *(f"Amazon Root CA {number}" for number in range(1, 5)),
        "Starfield Services Root Certificate Authority - G2",
    }
    for region in ("eu-central-1", "us-east-1", "us-west-2", "ap-southeast-2", "sa-east-1"):
        for key in ("RSA2048", "RSA4096", "ECC384"):
            assert f"Amazon RDS {region} Root CA {key} G1" in regional
    assert tls.RDS_CA.stat().st_size < 1 << 20


ONE = tls.certificates(BUNDLE)[: tls.certificates(BUNDLE).index("-----END") + 26]


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"# a comment\nsubject=whoever\n{ONE}",
        ONE.replace("\n", " "),
        ONE.replace("\n", "\\n"),
        ONE.replace("\n", "\r\n"),
        ONE.replace("\n", "\\r\\n"),
    ],
    ids=[
        "as it is",
        "with comments",
        "blanks",
        "written-out line ends",
        "CRLF",
        "written-out CRLF",
    ],
)
def test_a_certificate_is_read_as_forms_and_variables_leave_it(text: str) -> None:
    assert tls.certificates(text) == ONE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nMIID/jCC\n", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nMIID/jCC\n-----END CERTIFICATE-----\n", "cannot be read"),
        ("-----BEGIN CERTIFICATE-----\n€\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_what_is_no_certificate_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tls.certificates(text)


def test_verification_believes_what_it_is_given_and_nothing_else() -> None:
    context = tls.context(DatabaseTls.VERIFY_IDENTITY, ONE)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    none = tls.context(DatabaseTls.VERIFY_IDENTITY, None)
    assert none is not None
    assert none.verify_mode is ssl.CERT_REQUIRED
    assert none.get_ca_certs() == [], "the system's authorities sign for anybody"


def test_nothing_older_than_tls_1_2_is_spoken_where_tls_is_demanded() -> None:
    for mode in (DatabaseTls.VERIFY_IDENTITY, DatabaseTls.REQUIRED):
        context = tls.context(mode, ONE)
        assert context is not None
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.context(DatabaseTls.PREFERRED, None) is None


def _endpoint(**variables: str) -> tuple[DatabaseTls, str | None]:
    settings = Settings.from_env(
        {"LCP_BACKUP_BUCKET": "b", "LCP_MASTER_USER_PASSWORD": "p", **variables}
    )
    endpoint = Service(Environment.of(settings))._endpoint(for_reading=True)
    return endpoint.tls, endpoint.ca


PLAIN = {"LCP_DATABASE_SERVICE": "db.example.com"}
RDS = {"LCP_DATABASE_SERVICE": "liferay.abc.eu-central-1.rds.amazonaws.com:3306"}


@pytest.mark.usefixtures("aws")
def test_rds_is_verified_and_a_plain_host_is_not_unless_it_is_said() -> None:
    amazons = tls.certificates(BUNDLE)
    assert _endpoint(**PLAIN) == (DatabaseTls.PREFERRED, None)
    assert _endpoint(**RDS) == (DatabaseTls.VERIFY_IDENTITY, amazons)
    assert _endpoint(**PLAIN, LCP_DATABASE_CA=ONE) == (DatabaseTls.VERIFY_IDENTITY, ONE)
    assert _endpoint(**RDS, LCP_DATABASE_CA=ONE) == (DatabaseTls.VERIFY_IDENTITY, ONE)
    assert _endpoint(**RDS, LCP_DATABASE_TLS="disabled") == (DatabaseTls.DISABLED, None)
    assert _endpoint(**RDS, LCP_DATABASE_TLS="REQUIRED") == (DatabaseTls.REQUIRED, None)
    boto3.client("rds").create_db_instance(
        DBInstanceIdentifier="liferay", DBInstanceClass="db.t3.micro", Engine="mysql"
    )
    by_id = {"LCP_DATABASE_SERVICE": "liferay"}
    assert _endpoint(**by_id) == (DatabaseTls.VERIFY_IDENTITY, amazons)


@pytest.mark.usefixtures("aws")
def test_the_authority_may_be_a_path_or_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(f"# ours\n{ONE}")
    secret = boto3.client("secretsmanager").create_secret(Name="ca", SecretString=ONE)
    for given in (str(file), secret["ARN"]):
        assert _endpoint(**PLAIN, LCP_DATABASE_CA=given) == (DatabaseTls.VERIFY_IDENTITY, ONE)


@pytest.mark.usefixtures("aws")
def test_an_authority_that_cannot_be_had_is_said_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LCP_DATABASE_CA is not set: LCP_DATABASE_TLS is VER"):
        _endpoint(**PLAIN, LCP_DATABASE_TLS="VERIFY_IDENTITY")
    missing = tmp_path / "missing.pem"
    with pytest.raises(SettingsError, match="missing.pem'.*No such file"):
        _endpoint(**PLAIN, LCP_DATABASE_CA=str(missing))
    missing.write_bytes(b"\xff\xfe no text")
    with pytest.raises(SettingsError, match="no certificate"):
        _endpoint(**PLAIN, LCP_DATABASE_CA=str(missing))
    with pytest.raises(SettingsError, match="LCP_DATABASE_CA is 'given': .* cannot be read"):
        _endpoint(**PLAIN, LCP_DATABASE_CA=ONE.replace("MII", "III", 1))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LCP_DATABASE_TLS", "VERIFY_CA", "VERIFY_IDENTITY, REQUIRED, PREFERRED, DISABLED"),
        ("LCP_DATABASE_CA", "ca.pem", "PEM form"),
        ("LCP_DATABASE_CA", "arn:aws:s3:::bucket/ca.pem", "PEM form"),
        ("LCP_DATABASE_CA", f"{ONE}-----BEGIN PRIVATE KEY-----\nMIIE", "a private key"),
    ],
)
def test_what_the_variables_may_not_say(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is .*{said}") as caught:
        Settings.from_env({variable: value})
    assert "MIIE" not in str(caught.value)


def test_a_key_given_by_mistake_is_not_shown_by_the_settings() -> None:
    assert isinstance(Settings.from_env({"LCP_DATABASE_CA": ONE}).database_ca, SecretStr)
