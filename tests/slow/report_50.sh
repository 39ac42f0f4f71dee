# SPDX-License-Identifier: MIT
# The report of 50 variants: below 2 MB, rendered by Chromium without a complaint.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
. "$PKG_SOURCE/tests/cases/chromium.bash"
tiny_spec s.yaml
{ printf 'sweep: {lora.seed: ['; seq -s, 0 49; printf ']}\n'; } | tr -d '\n' >>s.yaml
pk run s.yaml -q; is_status 0 "50 variants"
pk report s.yaml -o page.html; is_status 0 report
size=$(wc -c <page.html); [ "$size" -lt 2000000 ] || fail "the page of 50 variants has $size bytes"
echo "50 variants: $size bytes"
rendered page.html 1280 desk.dom
finish
