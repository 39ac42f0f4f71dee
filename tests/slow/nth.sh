# SPDX-License-Identifier: MIT
# Every single place but of allocations, of which there are many thousands: 2,000 of them, evenly spread.
most=${MOST:-2000}
. "$PKG_SOURCE/tests/fault/nth.bash"
