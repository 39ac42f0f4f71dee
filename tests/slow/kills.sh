# SPDX-License-Identifier: MIT
kills=${KILLS:-200}
. "$PKG_SOURCE/tests/fault/kills.bash"
