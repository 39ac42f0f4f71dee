# SPDX-License-Identifier: MIT
# Every single place, allocations included (some 10,000: half an hour on two processors).
most=${MOST:-0}
SHARDS=${SHARDS:-$(nproc)}
. "$PKG_SOURCE/tests/fault/nth.bash"
finish
