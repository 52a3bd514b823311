"""How a connection to the database is protected, and whose certificates are believed."""

import re
import ssl
import textwrap
from pathlib import Path
from typing import Final

from lcp_backup.setting_values import DatabaseTls

RDS_CA: Final = Path(__file__).with_name("rds-ca.pem")
"""Amazon's authorities. They lie beside the code: the functions without the client layer need them
too."""
_RDS_HOST: Final = (".rds.amazonaws.com", ".rds.amazonaws.com.cn")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_PEM_WIDTH: Final = 64


def is_rds_host(host: str) -> bool:
    """Whether the host is an endpoint of RDS, Aurora or RDS Proxy, whose certificates name it."""
    return host.lower().rstrip(".").endswith(_RDS_HOST)


def mode(asked: DatabaseTls | None, *, is_rds: bool, has_ca: bool) -> DatabaseTls:
    """What is done when LCP_DATABASE_TLS says `asked`; None leaves it to what the database is.

    Args:
        is_rds: the database is Amazon's, whose authorities are known here.
        has_ca: LCP_DATABASE_CA is set, for which there is no other reason.
    """
    if asked is not None:
        return asked
    return DatabaseTls.VERIFY_IDENTITY if is_rds or has_ca else DatabaseTls.PREFERRED


def certificates(text: str) -> str:
    """The certificates in a PEM text, without all else, in lines as every program reads them.

    A form or a variable may have made blanks or a written-out `\\n` of the line ends. Raises
    ValueError when the text holds no certificate, or one that cannot be read.
    """
    found = _CERTIFICATE.findall(text.replace("\\n", "\n").replace("\\r", "\n"))
    if not found:
        raise ValueError("it holds no certificate in PEM form")
    pem = "".join(
        "-----BEGIN CERTIFICATE-----\n"
        + "\n".join(textwrap.wrap("".join(body.split()), _PEM_WIDTH))
        + "\n-----END CERTIFICATE-----\n"
        for body in found
    )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):
        raise ValueError("it holds a certificate that cannot be read") from None
    return pem


def context(tls: DatabaseTls, ca: str | None) -> ssl.SSLContext | None:
    """What PyMySQL is to demand of the server; None when TLS is not demanded.

    Args:
        ca: the certificates to believe, as `certificates` gives them; for VERIFY_IDENTITY only.
            Without any, no server is believed.
    """
    if tls not in {DatabaseTls.VERIFY_IDENTITY, DatabaseTls.REQUIRED}:
        return None
    # Not the default context: that would believe the system's authorities, and in its strict way
    # refuse certificates that the dump programs take, such as those MySQL makes for itself.
    demanded = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    demanded.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is DatabaseTls.REQUIRED:
        demanded.check_hostname = False
        demanded.verify_mode = ssl.CERT_NONE
    elif ca:
        demanded.load_verify_locations(cadata=ca)
    return demanded
