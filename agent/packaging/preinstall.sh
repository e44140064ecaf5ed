#!/bin/sh
set -e

# For RPM, which gives the configuration to this group when it unpacks it. dpkg runs the same from its last script.
echo 'u easyconnect-agent - "EasyConnect agent" /var/lib/easyconnect-agent' |
    systemd-sysusers --replace=/usr/lib/sysusers.d/easyconnect-agent.conf -
