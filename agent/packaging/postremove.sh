#!/bin/sh
set -e

case "$1" in
    remove | 0)
        # Otherwise the next start of the machine would look for a unit that is not there.
        rm -f "$DPKG_ROOT"/etc/systemd/system/multi-user.target.wants/easyconnect-agent.service \
            "$DPKG_ROOT"/etc/systemd/system/multi-user.target.wants/easyconnect-agent@*.service
        ;;
    purge)
        # What dpkg does not know: secrets, also those that the README tells to put there, instances, and everything of the agent's user.
        for file in pbx-password pbx-password.cred aws-credentials aws-credentials.cred proxy-password proxy-password.cred agent.key \
            agent.pem pbx-ca.pem; do
            rm -f "$DPKG_ROOT"/etc/easyconnect-agent/"$file" "$DPKG_ROOT"/etc/easyconnect-agent/*/"$file"
        done
        rm -f "$DPKG_ROOT"/etc/easyconnect-agent/*/agent.toml
        rmdir "$DPKG_ROOT"/etc/easyconnect-agent/*/ "$DPKG_ROOT"/etc/easyconnect-agent 2>/dev/null || true
        rm -rf "$DPKG_ROOT"/var/lib/easyconnect-agent
        ;;
esac

if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || true
fi
