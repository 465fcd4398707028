"""The certificates of one local cloud: an authority of its own, and a server certificate for loopback."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import certifi
import trustme

from localcloud.cloud import Cloud


def prepare(cloud: Cloud) -> None:
    """Make the authority, the server certificate and the CA bundle of `cloud`, when they are not there yet.

    The bundle is what this machine trusts already, plus the new authority: clients of the local cloud may still need
    to reach the outside, perhaps through a company's proxy with an authority of its own.
    """
    folder = cloud.ca_bundle.parent
    if not cloud.ca_bundle.exists():
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA(organization_name=f"Sluice local cloud {cloud.name}")
        server = authority.issue_cert("127.0.0.1", "localhost")
        server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        (folder / "server.pem").chmod(0o600)
        authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        own = (folder / "authority.pem").read_text(encoding="utf-8")
        cloud.ca_bundle.write_text(f"{_trusted_already()}\n{own}", encoding="utf-8")


def server_context(cloud: Cloud) -> ssl.SSLContext:
    """What an https server of `cloud` serves with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cloud.ca_bundle.parent / "server.pem")
    return context


def _trusted_already() -> str:
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        path = os.environ.get(variable)
        if path and Path(path).is_file():
            return Path(path).read_text(encoding="utf-8")
    return Path(certifi.where()).read_text(encoding="utf-8")
