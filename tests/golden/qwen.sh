# SPDX-License-Identifier: MIT
CASE=qwen
. "${PKG_SOURCE:?}/tests/golden/golden.bash"
