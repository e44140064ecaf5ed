#!/bin/sh
set -e

# dpkg says "configure" and the version that was there before, RPM how many versions are there now.
case "$1" in
    configure) [ -n "$2" ] && step=upgrade || step=install ;;
    1) step=install ;;
    [2-9]) step=upgrade ;;
    *) exit 0 ;;
esac

systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} easyconnect-agent.conf

if [ "$step" = install ]; then
    etc=$DPKG_ROOT/etc/easyconnect-agent
    group=easyconnect-agent
    if [ -n "$DPKG_ROOT" ]; then
        # The system that this runs on does not know the groups of the one it installs to.
        group=$(sed -n 's/^easyconnect-agent:[^:]*:\([0-9]*\):.*/\1/p' "$DPKG_ROOT/etc/group")
    fi
    chgrp "$group" "$etc/agent.toml"

    # Secrets are no conffiles: dpkg would compare them and show the difference. An upgrade makes none: who has put an encrypted
    # one in its place does not want it back.
    secret() {
        [ ! -e "$etc/$1" ] || return 0
        install -m 600 "$2" "$etc/$1"
        # systemd hands them over as credentials from version 247 on. Before, the agent has to read them itself.
        if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -lt 247 ]; then
            chgrp "$group" "$etc/$1"
            chmod 640 "$etc/$1"
        fi
    }
    secret pbx-password /dev/null
    secret aws-credentials "$DPKG_ROOT/usr/share/easyconnect-agent/aws-credentials"
    echo "easyconnect-agent: fill in /etc/easyconnect-agent, then: systemctl enable --now easyconnect-agent"
fi

# A new installation waits for its configuration; an upgrade starts running agents again.
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || true
    if [ "$step" = upgrade ]; then
        systemctl try-restart easyconnect-agent.service 'easyconnect-agent@*.service' || true
    fi
fi
