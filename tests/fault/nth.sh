# SPDX-License-Identifier: MIT
# A sample of the places; tests/slow/nth.sh has all.
most=${MOST:-25}
. "$PKG_SOURCE/tests/fault/nth.bash"
finish
