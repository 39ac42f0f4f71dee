#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what is missing on Debian 12 (as root, or through sudo) and builds build/pkgraph, optimised.
#     tools/setup.sh [--no-install | --tests]
# --tests also installs what only the tests use: an independent reader of our output, a schema validator, a web server.
set -eu
cd "$(dirname "$0")/.."

packages="build-essential cmake ninja-build pkg-config libyaml-dev libopenblas-openmp-dev libdnnl-dev libuv1-dev
libsqlite3-dev libssl-dev libjansson-dev libpcre2-dev libutf8proc-dev libcmocka-dev
libcurl4-openssl-dev"
if [ "${1:-}" = --tests ]; then
    packages="$packages file python3 python3-jsonschema python3-yaml nginx-light libnginx-mod-http-dav-ext graphviz"
fi

missing=""
if [ "${1:-}" != --no-install ] && command -v dpkg-query >/dev/null 2>&1; then
    for p in $packages; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
    done
fi
if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || { echo "setup: not root and no sudo; as root: apt-get install$missing" >&2; exit 1; }
        sudo=sudo
    fi
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
    echo "setup: every package is there"
fi

generator=""
if [ ! -f build/CMakeCache.txt ] && command -v ninja >/dev/null 2>&1; then
    generator="-G Ninja"
fi
# shellcheck disable=SC2086
cmake $generator -S . -B build -DCMAKE_BUILD_TYPE=Release
cmake --build build -j "$(nproc)"
echo "setup: built build/pkgraph; try: build/pkgraph run specs/quickstart.yaml"
