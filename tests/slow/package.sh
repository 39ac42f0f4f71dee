# SPDX-License-Identifier: MIT
# The Debian package on a clean machine: a minimal system of the release that this one is (debootstrap, as root, from the servers that
# apt uses here), apt resolves what the package needs, and the installed program, manual page, pkg-config file and quickstart work there.
. "${PKG_SOURCE:?}/tests/cases/lib.bash" || exit 1
build=$(dirname "$PKGRAPH")
[ "$(id -u)" = 0 ] || { echo "SKIPPED: only root makes a chroot"; exit 77; }
for tool in debootstrap chroot cpack dpkg-shlibdeps file; do
    PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || { echo "SKIPPED: no $tool"; exit 77; }
done
[ -f "$build/CPackConfig.cmake" ] || { echo "SKIPPED: $PKGRAPH is not in a build folder"; exit 77; }
. /etc/os-release
root=$work/root
status=0 out='' errors=''

out=$(cpack --config "$build/CPackConfig.cmake" -G DEB -B "$work/pack" 2>&1) || { fail "cpack -G DEB"; finish; }
out=$(PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase "${VERSION_CODENAME:-bookworm}" "$root" 2>&1) || { echo "SKIPPED: debootstrap: $(tail -1 <<<"$out")"; exit 77; }
trap 'umount "$root/proc" 2>/dev/null; rm -rf "$work"' EXIT
mount -t proc proc "$root/proc" || { echo "SKIPPED: /proc cannot be mounted in the chroot"; exit 77; }

# inside COMMAND: in the clean system, with nothing of this environment; sets $status and $out
inside() {
    out=$(env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$root" sh -c "cd /root && $1" 2>&1 </dev/null)
    status=$?
}
cp "$work"/pack/*.deb "$root/root/" && cp /etc/resolv.conf "$root/etc/" 2>/dev/null
inside 'apt-get update -qq && apt-get install -y --no-install-recommends ./pkgraph_*.deb'; is_status 0 "apt install"
inside 'dpkg -s pkgraph | grep "^Status: install ok installed"'; is_status 0 "dpkg -s"
inside 'pkgraph version'; is_status 0 version; says oneDNN; says OpenBLAS
inside 'pkgraph --help'; is_status 0 --help; says "pkgraph run /usr/share/pkgraph/specs/quickstart.yaml"
inside 'pkgraph doctor'; is_status 0 doctor; says "GFLOP/s"; says "libcurl"; says_not "NOT THERE"
inside "sed -e 's/rows: 14400/rows: 240/' -e 's/rows: 7200/rows: 240/' -e 's/rows: 1536/rows: 48/' -e 's/rows: 384/rows: 24/' /usr/share/pkgraph/specs/quickstart.yaml >q.yaml && pkgraph run q.yaml"
is_status 0 "the quickstart"; says "ran 28"; says "+-"
inside 'pkgraph run q.yaml'; is_status 0 "again"; says "everything is up to date"
inside 'pkgraph show q.yaml scores && pkgraph report q.yaml -o q.html && test -s q.html'; is_status 0 "show and report"
inside 'apt-get install -y -qq --no-install-recommends man-db pkg-config'; is_status 0 "man and pkg-config"
inside 'MANWIDTH=80 man pkgraph'; is_status 0 man; says "EXIT STATUS"; says "FILES"
inside 'ls "$(pkg-config --variable=specsdir pkgraph)/quickstart.yaml"'; is_status 0 pkg-config
inside 'apt-get purge -y -qq pkgraph >/dev/null 2>&1 && find / -xdev -path /proc -prune -o -name "*pkgraph*" -print | grep -v -e ^/root -e ^/proc -e ^/var'; says_not pkgraph "what purge leaves"
if command -v lintian >/dev/null; then
    out=$(lintian --allow-root --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog --fail-on error "$work"/pack/*.deb 2>&1); status=$?; is_status 0 lintian
fi
finish
