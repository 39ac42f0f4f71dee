# SPDX-License-Identifier: MIT
# The install target, and the Debian package unpacked (not installed): program, specs, docs, manual page, completions.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
build=$(dirname "$PKGRAPH")
[ -f "$build/cmake_install.cmake" ] && command -v cmake >/dev/null || { echo "skipped: $PKGRAPH is not in a build folder"; exit 77; }

# check_tree PREFIX: what was put there works from there
check_tree() {
    for f in bin/pkgraph share/man/man1/pkgraph.1.gz share/doc/pkgraph/changelog.gz share/pkgraph/specs/quickstart.yaml share/pkgconfig/pkgraph.pc share/doc/pkgraph/spec.md share/doc/pkgraph/copyright \
             share/bash-completion/completions/pkgraph share/zsh/vendor-completions/_pkgraph share/fish/vendor_completions.d/pkgraph.fish; do
        [ -s "$1/$f" ] || fail "nothing at $f"
    done
    PKGRAPH=$1/bin/pkgraph
    pk version; is_status 0 "the installed program"
    pk check "$1/share/pkgraph/specs/quickstart.yaml"; is_status 0 "the installed quickstart"
    pk check specs/quickstart.yaml; is_status 2 "no spec here"; says "there is $1/share/pkgraph/specs/quickstart.yaml"
    pk --help; says "pkgraph run $1/share/pkgraph/specs/quickstart.yaml" "the first steps of who has only the package"
    gzip -dc "$1/share/doc/pkgraph/changelog.gz" | head -1 | grep -qF "($("$PKGRAPH" version | sed -n '1s/.* //p'))" || fail "the changelog begins with another version"
    if command -v pkg-config >/dev/null; then
        out=$(PKG_CONFIG_PATH=$1/share/pkgconfig pkg-config --define-variable=prefix="$1" --variable=specsdir pkgraph) || fail "pkg-config"
        [ -s "$out/quickstart.yaml" ] || fail "pkg-config names no specs: $out"
        PKG_CONFIG_PATH=$1/share/pkgconfig pkg-config --exact-version="$("$PKGRAPH" version | sed -n '1s/.* //p')" pkgraph || fail "pkg-config has another version"
    fi
    bash -n "$1/share/bash-completion/completions/pkgraph" || fail "bash completions"
    grep -rqF "$PKG_SOURCE" "$1/share" && fail "a path of this machine is installed"
    if command -v groff >/dev/null; then
        warnings=$(gzip -dc "$1/share/man/man1/pkgraph.1.gz" | groff -man -Tascii -ww -z 2>&1)
        [ -z "$warnings" ] || fail "the manual page: $warnings"
    fi
}

status=0 out='' errors=''
out=$(cmake --install "$build" --prefix "$work/prefix" 2>&1); status=$?; is_status 0 "cmake --install"
check_tree "$work/prefix"
cat >one.yaml <<'Y'
pkgraph: 1
nodes: {rows: {op: synth, params: {rows: 3}}}
Y
pk run one.yaml; is_status 0 "the installed program runs"

if command -v cpack >/dev/null && command -v dpkg-deb >/dev/null && command -v dpkg-shlibdeps >/dev/null && command -v file >/dev/null; then
    out=$(cpack --config "$build/CPackConfig.cmake" -G DEB -B "$work/pack" 2>&1); status=$?; is_status 0 "cpack -G DEB"
    deb=$(ls "$work"/pack/*.deb 2>/dev/null | head -1)
    out=$(dpkg-deb -I "$deb" 2>&1); says "Depends:" "the package"; says "libsqlite3" "the package"
    for library in libdnnl libopenblas libcurl; do says "$library" "the package (opened when needed)"; done
    dpkg-deb -x "$deb" "$work/deb" || fail "the package cannot be unpacked"
    check_tree "$work/deb/usr"
fi
finish
