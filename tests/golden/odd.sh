# SPDX-License-Identifier: MIT
CASE=odd
. "${PKG_SOURCE:?}/tests/golden/golden.bash"
