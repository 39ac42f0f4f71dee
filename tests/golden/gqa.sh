# SPDX-License-Identifier: MIT
CASE=gqa
. "${PKG_SOURCE:?}/tests/golden/golden.bash"
