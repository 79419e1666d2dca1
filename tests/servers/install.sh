#!/usr/bin/env bash
# Installs the Debian packages of tests/servers/packages.txt that are missing, where that is possible: root on Debian.
# Elsewhere one line says what is not there; the tests that need it are skipped then, and fail in CI. Nothing is
# started: each test starts its own server. Nothing is removed: another mail server in Postfix' place stays.
set -u
cd "$(dirname "$0")"

missing=()
while read -r package; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)
    [ "$status" = "install ok installed" ] || missing+=("$package")
done < <(grep -v '^#' packages.txt)
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "servers: not root on Debian, so ${missing[*]} cannot be installed; tests that need them are skipped"
    exit 0
fi

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    # 101: "forbidden by policy" – no package starts a service on this machine (invoke-rc.d's own convention).
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections 2>/dev/null
if apt-get update >"$log" 2>&1 &&
    apt-get install -y --no-install-recommends --no-remove "${missing[@]}" >>"$log" 2>&1; then
    echo "servers: installed ${missing[*]}"
else
    echo "servers: ${missing[*]} could not be installed; tests that need them are skipped: $(tail -1 "$log")"
fi
rm -f "$log"
