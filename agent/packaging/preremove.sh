#!/bin/sh
set -e

# An upgrade does not stop the agents before the new one is there.
case "$1" in
    remove | 0)
        if [ -d /run/systemd/system ]; then
            systemctl stop easyconnect-agent.service 'easyconnect-agent@*.service' || true
        fi
        ;;
esac
