#!/usr/bin/env bash
# Installs the foreign programs of the tests. The RTSP servers that tests/end_to_end/test_foreign_cameras.py plays
# against: gst-rtsp-server from Debian (needs root), and a Python one in an environment of its own, because it brings
# stray top-level modules. And promtool, with which tests/test_deploy/test_alerts.py lets time pass over the alerts: from
# Debian's package of Prometheus, unpacked and not installed, since that would start a server.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null
fi

if ! .venv-foreign/bin/rtsp-server --help >/dev/null 2>&1; then
  rm -rf .venv-foreign
  python3 -m venv .venv-foreign
  .venv-foreign/bin/python -m pip install --quiet --disable-pip-version-check "aio-rtsp-toolkit[server]==0.1.4"
fi

if ! .venv-foreign/bin/promtool --version >/dev/null 2>&1; then
  unpacked="$(mktemp -d)"
  trap 'rm -rf "$unpacked"' EXIT
  (cd "$unpacked" && { apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; }; })
  dpkg -x "$unpacked"/prometheus_*.deb "$unpacked"
  cp "$unpacked/usr/bin/promtool" .venv-foreign/bin/promtool
fi
