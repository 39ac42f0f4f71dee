# SPDX-License-Identifier: MIT
# kill -9 at $kills random moments of a run that includes training; after each the same command ends with the bytes of an
# undisturbed run. Sourced.
. "$PKG_SOURCE/tests/cases/lib.bash"
export GOMP_SPINCOUNT=2000
tiny_spec spec.yaml
blobs() { (cd "$1/blobs" && find . -type f -exec sha256sum {} +) | sort; }
now() { date +%s%N; }
began=$(now)
"$PKGRAPH" run spec.yaml --store whole -q >/dev/null 2>&1 || { echo "the undisturbed run fails"; exit 1; }
span=$((($(now) - began) / 1000000))
blobs whole >whole.txt
metrics=$("$PKGRAPH" metrics spec.yaml --store whole 2>/dev/null)
killed=0
for ((i = 0; i < kills; i++)); do
    [ $((i % 4)) = 0 ] && rm -rf s # else it goes on from where earlier kills left it
    "$PKGRAPH" run spec.yaml --store s -q >/dev/null 2>&1 </dev/null &
    pid=$!
    sleep "$(awk -v s=$span -v r=$RANDOM 'BEGIN { printf "%.3f", s * r / 32768 / 1000 }')"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
    [ $((i % 4)) = 3 ] || [ "$i" = $((kills - 1)) ] || continue
    pk run spec.yaml --store s -q
    is_status 0 "the run after kill $i"
    blobs s >again.txt
    comm -23 whole.txt again.txt | grep -q . && fail "kill $i: other bytes"
    [ "$("$PKGRAPH" metrics spec.yaml --store s 2>/dev/null)" = "$metrics" ] || fail "kill $i: other metrics"
    pk cache verify --store s; is_status 0 "verify after kill $i"
    [ -z "$(ls s/tmp)" ] || fail "kill $i: scratch was left"
    [ $failures -lt 5 ] || finish
done
echo "$killed of $kills runs killed before their end"
finish
