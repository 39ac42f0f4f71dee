#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what is missing, builds, and runs the ordinary tests: unit, cases, golden, fault, fuzz. Tests that take long
# carry the label `slow` and are left out:
#     tools/test.sh                the ordinary tests
#     tools/test.sh -L slow        arguments go to ctest instead
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh --tests
[ $# -gt 0 ] || set -- -L '^(unit|cases|golden|fault|fuzz)$' -LE '^slow$'
exec ctest --test-dir build --output-on-failure -j "$(nproc)" "$@"
