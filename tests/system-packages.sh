#!/bin/sh
# Debian's packages that the tests need: PostgreSQL with pgSphere, STILTS, Aladin, Chromium, curl, nginx, openssl, and
# systemd for systemd-analyze. Installed when root, named when not.
set -eu
packages="postgresql-15 postgresql-15-pgsphere stilts curl aladin chromium nginx openssl systemd"
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "the tests need Debian's packages$missing: install them as root" >&2
        exit 1
    fi
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # No cluster of its own: the tests start theirs.
    mkdir -p /etc/postgresql-common
    grep -qs '^create_main_cluster' /etc/postgresql-common/createcluster.conf \
        || echo "create_main_cluster = false" >> /etc/postgresql-common/createcluster.conf
    # Nor an nginx that serves: nothing that is installed here is started.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod 755 "$policy"; trap 'rm -f "$policy"' EXIT; }
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing > /dev/null
fi
if [ "$(id -u)" -eq 0 ]; then sh deploy/postgres/fix-pgsphere.sh; fi
