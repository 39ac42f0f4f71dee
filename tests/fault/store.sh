# SPDX-License-Identifier: MIT
# Stores in trouble: bit flips in every file, a full disk, a read-only store, a file system without locks, a store of a
# newer format, many processes at once, Ctrl-C.
. "$PKG_SOURCE/tests/cases/lib.bash"
export GOMP_SPINCOUNT=2000
cat >spec.yaml <<'SPEC'
pkgraph: 1
nodes:
  a: {op: synth, params: {split: train, rows: 4, difficulty: 3}}
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, seed: 2}}
  n: {op: eval, inputs: {model: m, data: a}, params: {task: loss, compute: f32}}
SPEC
blobs() { (cd "$1/blobs" && find . -type f -exec sha256sum {} +) | sort; }
pk run spec.yaml --store whole -q; is_status 0 "the undisturbed run"
blobs whole >whole.txt

# flip FILE AT: turns one bit
flip() {
    chmod u+w "$1"
    local b; b=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf %03o $((b ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
# what a flip leaves is a store whose next run ends well, at once or after having said what it found, with the same bytes
flips=0
while read -r f; do
    size=$(stat -c %s "whole/$f")
    [ "$size" -gt 0 ] || continue
    for at in 0 $((size / 3)) $((size - 1)); do
        rm -rf s; cp -a whole s
        mtime=$(stat -c %y "s/$f")
        flip "s/$f" "$at"
        touch -d "$mtime" "s/$f" # as a failing disk would leave it
        case $f in blobs/*)
            pk cache verify --store s; is_status 1 "verify of $f flipped at $at" ;;
        esac
        pk run spec.yaml --store s -q
        case $f in
        format) [ "$status" = 0 ] || { says "format" "$f flipped at $at"; flips=$((flips + 1)); continue; } ;;
        index*) # found or healed: SQLite's pages carry no checksum, but what a row says is checked against the blobs
            [ "$status" = 0 ] || { pk run spec.yaml --store s -q; is_status 0 "second run after $f flipped at $at"; } ;;
        *) is_status 0 "run after $f flipped at $at" ;;
        esac
        blobs s >again.txt
        comm -23 whole.txt again.txt | grep -q . && fail "$f flipped at $at: other bytes"
        flips=$((flips + 1))
    done
done < <(cd whole && find . -type f -size +0 | sed 's,^\./,,' | grep -v '^locks/' | sort)
echo "$flips bit flips found or healed"

# whole pages of the index gone bad
pages=$(($(stat -c %s whole/index.sqlite) / 4096))
for ((at = 0; at < pages; at++)); do
    rm -rf s; cp -a whole s
    head -c 4096 /dev/zero | tr '\0' '\377' | dd of=s/index.sqlite bs=4096 seek=$at conv=notrunc 2>/dev/null
    pk run spec.yaml --store s -q; is_status 0 "page $at of the index"
    blobs s >again.txt; comm -23 whole.txt again.txt | grep -q . && fail "page $at of the index: other bytes"
    pk cache verify --store s # finds what the run had no need to read
    [ "$status" = 0 ] || { pk cache verify --store s; is_status 0 "verify after page $at"; says "set aside" "verify after page $at"; }
done
rm -rf s; cp -a whole s
head -c 4096 /dev/zero | tr '\0' '\377' | dd of=s/index.sqlite bs=4096 seek=3 conv=notrunc 2>/dev/null
pk cache verify --store s; is_status 1 "verify of a damaged index"; says "index is damaged"
pk cache verify --store s; is_status 0 "verify after it was set aside"; says "set aside"

# a blob that rotted unseen and stops the node that reads it: found then, and made again
rm -rf s; cp -a whole s
data=$(grep -l '"prompt"\|"messages"\|"question"' s/blobs/*/* | head -1)
[ -n "$data" ] || fail "no blob of rows"
mtime=$(stat -c %y "$data"); flip "$data" 1; touch -d "$mtime" "$data"
pk run spec.yaml --store s -q --force n; is_status 1 "a rotten input"; says "run again" "a rotten input"
pk run spec.yaml --store s -q; is_status 0 "the run after a rotten input"
blobs s >again.txt; comm -23 whole.txt again.txt | grep -q . && fail "a rotten input: other bytes"

# flips in what a killed training leaves: its checkpoint, the log of the index, scratch
cat >train.yaml <<'SPEC'
pkgraph: 1
nodes:
  a: {op: synth, params: {split: train, rows: 256, difficulty: 3}}
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, seed: 2}}
  t: {op: train, inputs: {model: m, data: a}, params: {mode: full, compute: f32, max_length: 256, save_steps: 1, per_device_train_batch_size: 4, gradient_accumulation_steps: 1}}
SPEC
pk run train.yaml --store tw -q; is_status 0 "the undisturbed training"
blobs tw >tw.txt
"$PKGRAPH" run train.yaml --store killed -q >/dev/null 2>&1 &
pid=$!
for _ in $(seq 400); do [ -n "$(find killed/checkpoints -name '*.safetensors' 2>/dev/null)" ] && break; sleep 0.01; done
kill -9 $pid; wait $pid 2>/dev/null
[ -n "$(find killed/checkpoints -name '*.safetensors')" ] || fail "the training was killed too late: nothing to damage"
flips=0
while read -r f; do
    size=$(stat -c %s "killed/$f")
    case $f in blobs/*) continue ;; esac # as above
    case $f in *.safetensors) places="9 $((size / 5)) $((size / 2)) $((size - 5))" ;; *) places="$((size / 2))" ;; esac
    for at in $places; do
        rm -rf s; cp -a killed s
        mtime=$(stat -c %y "s/$f"); flip "s/$f" "$at"; touch -d "$mtime" "s/$f"
        pk run train.yaml --store s -q
        case $f in index*) [ "$status" = 0 ] || pk run train.yaml --store s -q ;; esac
        is_status 0 "training after $f flipped at $at"
        case $f in *.safetensors) says "starting from the beginning" "$f flipped at $at" ;; esac
        blobs s >again.txt
        comm -23 tw.txt again.txt | grep -q . && fail "$f flipped at $at: other bytes"
        flips=$((flips + 1))
    done
done < <(cd killed && find . -type f -size +0 | sed 's,^\./,,' | grep -Ev '^(locks/|format)' | sort)
echo "$flips bit flips in what a killed training left, found or healed"

# newer format
rm -rf s; cp -a whole s; chmod u+w s/format; echo "pkgraph store 99" >s/format
pk run spec.yaml --store s; is_status 1 "newer format"; says "99"; says "newer pkgraph"

# many at once: every node computed by exactly one of them
rm -rf s
for i in 1 2 3 4 5 6 7 8; do "$PKGRAPH" run spec.yaml --store s -q --events "e$i" >/dev/null 2>"err$i" & done
wait
total=$(cat e1 e2 e3 e4 e5 e6 e7 e8 | grep -c '"event":"done"')
[ "$total" = 3 ] || fail "eight processes computed $total nodes, not 3: $(cat err?)"
blobs s >again.txt; cmp -s whole.txt again.txt || fail "eight processes: other bytes"

# a full disk and a read-only one
mkdir disk
if mount -t tmpfs -o size=600k tmpfs disk 2>/dev/null; then
    trap 'umount -l "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
    for free in 20 60 120 250 400; do
        rm -rf disk/*; head -c $(((600 - free) * 1024)) /dev/zero >disk/ballast 2>/dev/null
        pk run spec.yaml --store disk/s -q
        if [ "$status" != 0 ]; then
            is_status 1 "disk with $free KB"
            case "$errors" in *"o space"* | *"disk full"* | *"isk I/O"*) ;; *) fail "disk with $free KB: not said" ;; esac
        fi
        rm disk/ballast
        mount -o remount,size=16m disk
        pk run spec.yaml --store disk/s -q; is_status 0 "after the disk with $free KB"
        blobs disk/s >again.txt
        comm -23 whole.txt again.txt | grep -q . && fail "disk with $free KB: other bytes"
        rm -rf disk/s; mount -o remount,size=600k disk
    done
    rm -rf disk/*; mount -o remount,size=16m disk; cp -a whole disk/s; mount -o remount,ro disk
    pk run spec.yaml --store disk/s; is_status 1 "read-only store"; says "--store" "read-only store"
    umount disk; trap 'rm -rf "$work"' EXIT
else
    echo "SKIPPED within: full and read-only disk (mounting a small file system is not allowed here)"
fi

# no locks
cc=$(command -v "${CC:-cc}" || command -v gcc || command -v clang || true)
if [ -n "$cc" ] && "$cc" -O2 -D_GNU_SOURCE -shared -fPIC -o shim.so "$PKG_SOURCE/tests/fault/shim.c" -ldl 2>/dev/null &&
    ! nm -D "$PKGRAPH" 2>/dev/null | grep -q __asan; then
    rm -rf s
    FAULT_KIND=lock LD_PRELOAD=$work/shim.so timeout 60 "$PKGRAPH" run spec.yaml --store s >.out 2>.err
    status=$?; out=$(cat .out); errors=$(cat .err)
    is_status 1 "no locks"; says "lock" "no locks"; says "--store" "no locks"
else
    echo "SKIPPED within: a file system without locks (the shim does not build)"
fi

# Ctrl-C
cat >long.yaml <<'SPEC'
pkgraph: 1
nodes:
  a: {op: synth, params: {split: train, rows: 4000000, difficulty: 3}}
SPEC
"$PKGRAPH" run long.yaml --store s2 -q >.out 2>.err &
pid=$!
sleep 0.5; kill -INT $pid 2>/dev/null; wait $pid; status=$?
case $status in 130 | 0) ;; *) fail "Ctrl-C: status $status" ;; esac
finish
