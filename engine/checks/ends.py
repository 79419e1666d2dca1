"""What ends before the migration does: the app's secrets and certificates, and dates that concern everybody (C4)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from engine.checks import dates
from engine.checks.base import Check, Look, copies, note, warn
from engine.contract import Finding
from engine.data import table

#: Where the inventory names no `planned_end`, so long is looked ahead.
USUAL = timedelta(days=30)


def _credentials(look: Look) -> Iterator[Finding]:
    end = look.planned_end or look.now + USUAL
    for credential in look.site.graph.app_credentials():
        if credential.ends is None or credential.ends >= end:
            continue
        what = f"{credential.kind} {credential.name!r} of the app".replace(" '' ", " ")
        if credential.ends <= look.now:
            yield note(f"a {what} ended on {credential.ends:%Y-%m-%d}", "Remove it from the app when nobody uses it.")
        else:
            yield warn(f"a {what} ends on {credential.ends:%Y-%m-%d}, before the {_end(look)} {end:%Y-%m-%d}",
                       "Make a new one now; where it is the one in use, every connection stops that day.")


def _certificate(look: Look) -> Iterator[Finding]:
    host = look.var("rpc_proxy_server").lower()
    found = look.site.published.certificate(host)
    if found.unreached:
        yield warn(f"{host} shows no certificate: {found.unreached} (B-04)",
                   "The service reaches the source by this name only: mailmove doc outlook_anywhere")
        return
    faults = [*found.faults, *([] if found.covers(host) else [f"it is not made for {host}"])]
    if faults:
        yield warn(f"the certificate of {host}: {'; '.join(faults)} (B-04)",
                   "The service takes a public authority's only: mailmove doc published_certificate")
    end = look.planned_end or look.now + USUAL
    if found.not_after is not None and look.now < found.not_after < end:
        yield warn(f"the certificate of {host} ends on {found.not_after:%Y-%m-%d}, before the {_end(look)} "
                   f"{end:%Y-%m-%d} (B-04)", "Renew it now; every copy stops on that day.")


def _dates(look: Look) -> Iterator[Finding]:
    known = {each.id: each for each in dates.dated()}
    sync = known["connect-sync-minimum"]
    if look.staged and sync.at is not None and sync.at <= look.now.date() + timedelta(days=60):
        yield note(f"{sync.what} {sync.then} after {sync.at} ({sync.source}; as of {table()['as_of']})",
                   "Look at the version on the synchronisation server (S-06).")
    mail = known["smtp-auth-basic"]
    host = str(look.site.setting("smtp", "host") or "")
    if host.endswith("office365.com") and mail.at is not None and mail.at <= look.now.date() + timedelta(days=60):
        yield warn(f"letters go through {host} with a password: {mail.what} is {mail.then} after {mail.at} "
                   f"({mail.source})", "Send through Graph or a server of your own.")


def _end(look: Look) -> str:
    return "planned end" if look.planned_end else "30 days looked ahead:"


CHECKS = (
    Check("app_credentials", "The app's secrets and certificates last", ("C4",), ("graph",), _credentials,
          where=copies),
    Check("source_certificate", "The published name's certificate lasts", ("B-04", "C4"), ("published",), _certificate,
          where=lambda look: copies(look) and look.site.has("published") and bool(look.var("rpc_proxy_server"))),
    Check("dates", "Dates that age", ("T-19", "T-30"), (), _dates, where=copies),
)
