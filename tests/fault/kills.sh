# SPDX-License-Identifier: MIT
kills=${KILLS:-12}
. "$PKG_SOURCE/tests/fault/kills.bash"
