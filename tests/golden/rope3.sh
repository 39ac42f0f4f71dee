# SPDX-License-Identifier: MIT
CASE=rope3
. "${PKG_SOURCE:?}/tests/golden/golden.bash"
