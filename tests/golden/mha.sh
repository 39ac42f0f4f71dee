# SPDX-License-Identifier: MIT
CASE=mha
. "${PKG_SOURCE:?}/tests/golden/golden.bash"
