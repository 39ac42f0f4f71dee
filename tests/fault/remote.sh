# SPDX-License-Identifier: MIT
# The remote cache against a real server (nginx with WebDAV): what one store sent, another fetches instead of computing;
# passwords, tokens, TLS; a server that is down, full, lying or forgetful costs a warning, never a run.
. "$PKG_SOURCE/tests/cases/lib.bash"
nginx=$(command -v nginx || echo /usr/sbin/nginx)
[ -x "$nginx" ] || { echo "SKIPPED: nginx is not installed (apt-get install nginx-light libnginx-mod-http-dav-ext)"; exit 77; }
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
mkdir -p www nginx-tmp
chmod 777 www nginx-tmp "$work"
have_tls=0
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem >/dev/null 2>&1 && have_tls=1
    printf 'ann:%s\n' "$(openssl passwd -apr1 secret)" >htpasswd
else
    : >htpasswd
fi
port=$((20000 + RANDOM % 20000))
tls=$((port + 1))
conf() {
    cat <<CONF
worker_processes 1;
$([ "$(id -u)" = 0 ] && echo "user root;")
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 64; }
http {
  access_log $work/access.log;
  client_body_temp_path nginx-tmp/b; proxy_temp_path nginx-tmp/p; fastcgi_temp_path nginx-tmp/f; uwsgi_temp_path nginx-tmp/u; scgi_temp_path nginx-tmp/s;
  client_max_body_size 0;
  root $work/www;
  server {
    listen 127.0.0.1:$port;
    location /open/ { dav_methods PUT; create_full_put_path on; }
    location /basic/ { auth_basic cache; auth_basic_user_file $work/htpasswd; dav_methods PUT; create_full_put_path on; }
    location /token/ { if (\$http_authorization != "Bearer tok-en") { return 401; } dav_methods PUT; create_full_put_path on; }
    location /full/ { if (\$request_method = PUT) { return 507; } }
    location /broken/ { return 503; }
    location /slow/ { alias $work/www/open/; limit_rate 3k; dav_methods PUT; create_full_put_path on; }
  }
$([ "$have_tls" = 1 ] && echo "  server { listen 127.0.0.1:$tls ssl; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    location /tls/ { dav_methods PUT; create_full_put_path on; } }")
}
CONF
}
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
for try in 1 2 3 4 5; do
    conf >nginx.conf
    "$nginx" -p "$work" -c "$work/nginx.conf" -g 'daemon off;' >nginx.out 2>&1 &
    server=$!
    for i in $(seq 50); do [ -s nginx.pid ] && break 2; kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    port=$((20000 + RANDOM % 20000)); tls=$((port + 1)); server=
done
[ -n "$server" ] || { cat nginx.out; echo "SKIPPED: nginx with WebDAV does not start"; exit 77; }

cat >spec.yaml <<'SPEC'
pkgraph: 1
nodes:
  a: {op: synth, params: {split: train, rows: 40, difficulty: 3}}
  b: {op: synth, params: {split: test, rows: 20, difficulty: 3}}
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1, num_key_value_heads: 1, seed: 2}}
SPEC
expect() { # $1 what, $2 "ran N, up to date M"
    is_status 0 "$1"
    says "$2" "$1"
}

export PKGRAPH_REMOTE="http://127.0.0.1:$port/open"
pk run spec.yaml --store s1; expect "first run" "ran 3, up to date 0"
n=$(find www/open/ac -type f | wc -l)
[ "$n" = 3 ] || fail "the server has $n records, not 3"
pk run spec.yaml --store s2; expect "another store" "up to date: 3 nodes"
(cd s1/blobs && find . -type f | sort) >l1; (cd s2/blobs && find . -type f | sort) >l2
cmp -s l1 l2 || fail "the stores differ"
pk cache verify --store s2; is_status 0 "verify"
rm -rf www/open
pk cache push --store s2; is_status 0 push; says "sent 3 records"
pk cache push --store s2; says "sent 0 records" "second push"
pk cache pull spec.yaml --store s3; is_status 0 pull; says "3 of 3 nodes are up to date"

# plan says what the server has, down the whole chain, and fetches nothing
cat >chain.yaml <<'SPEC'
pkgraph: 1
nodes:
  a: {op: synth, params: {split: train, rows: 8}}
  m: {op: init, params: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 1, seed: 3}}
  e: {op: eval, inputs: {model: m, data: a}}
SPEC
pk run chain.yaml --store c1; is_status 0 "a chain"
pk plan chain.yaml --store c2; is_status 2 "plan of a fresh store"; says "3 nodes, 0 up to date, 0 to run, 3 to restore"; says "the remote cache has it"
[ -z "$(find c2/blobs -type f 2>/dev/null)" ] || fail "plan fetched contents"
pk plan chain.yaml --store c2 --set e.max_length=64; is_status 2 "plan of a change"; says "1 to run, 2 to restore"
pk plan chain.yaml --store c2 --json; says '"to_restore": 3'
PKGRAPH_REMOTE="http://127.0.0.1:1/x" pk plan chain.yaml --store c2; is_status 2 "plan without the server"; says "2 to run, 1 after those"; says "remote cache"
pk run chain.yaml --store c2; says "up to date: 3 nodes" "what was promised"
pk plan chain.yaml --store c2; is_status 0 "nothing left"

# resumed: a beginning of every file is there already, of one a wrong one
mkdir -p s4; pk cache pull spec.yaml --store s4 >/dev/null
rm -rf s4/blobs/?? s4/index*; mkdir -p s4/partial
wrong=1
for f in www/open/cas/*; do
    h=$(basename "$f"); head -c 100 "$f" >"s4/partial/$h"
    [ $wrong = 1 ] && { tr 'a-z0-9' 'b-za1-90' <"$f" | head -c 100 >"s4/partial/$h"; wrong=0; }
done
pk run spec.yaml --store s4; expect "resumed" "up to date: 3 nodes"
grep -q '" 206 ' access.log || fail "nothing was resumed"
pk cache verify --store s4; is_status 0 "verify of what was resumed"

# slow: fetching what is computed sooner is given up, and said; a user who asks for it gets it. What came is kept for the next time
began=$SECONDS
PKGRAPH_REMOTE="http://127.0.0.1:$port/slow" PKGRAPH_REMOTE_READONLY=1 pk run spec.yaml --store slow; is_status 0 "a slow remote"
says "is slow" "a slow remote"
[ $((SECONDS - began)) -lt 30 ] || fail "a slow remote: the run took $((SECONDS - began)) s"
pk cache verify --store slow; is_status 0 "verify beside a slow remote"

# lying: other bytes of the same length; a record of another key; rubbish; a file that is gone
for f in www/open/cas/*; do chmod u+w "$f"; printf X | dd of="$f" bs=1 seek=3 conv=notrunc 2>/dev/null; done
pk run spec.yaml --store s5; expect "lying contents" "ran 3, up to date 0"; says "remote cache" "lying contents"
pk cache verify --store s5; is_status 0 "verify beside a liar"
set -- www/open/ac/*
cp "$1" keep; cp "$2" "$1"; cp keep "$2"; head -c 37 /dev/urandom >"$3"
pk run spec.yaml --store s6; expect "lying records" "ran 3, up to date 0"; says "not a record of this key"
rm -rf www/open/cas
PKGRAPH_REMOTE_READONLY=1 pk run spec.yaml --store s7; expect "contents gone" "ran 3, up to date 0"
[ ! -d www/open/cas ] || fail "a read-only remote was written"

# full, failing, away, refusing
for kind in full broken; do
    PKGRAPH_REMOTE="http://127.0.0.1:$port/$kind" pk run spec.yaml --store "s-$kind"; expect "$kind" "ran 3, up to date 0"; says "remote cache" "$kind"
done
PKGRAPH_REMOTE="http://127.0.0.1:1/x" pk run spec.yaml --store s8; expect "away" "ran 3, up to date 0"
says "goes on without it" "away"
PKGRAPH_REMOTE="http://127.0.0.1:1/x" pk cache push --store s8; is_status 1 "push to nobody"
PKGRAPH_REMOTE="ftp://x" pk run spec.yaml --store s9; [ "$status" != 0 ] || fail "ftp was taken"; says "http://"

# who asks
if [ -s htpasswd ]; then
    PKGRAPH_REMOTE="http://127.0.0.1:$port/basic" pk cache push --store s1; is_status 1 "no password"; says "access refused"
    says_not secret
    PKGRAPH_REMOTE="http://127.0.0.1:$port/basic" PKGRAPH_REMOTE_USER=ann PKGRAPH_REMOTE_PASSWORD=secret pk cache push --store s1
    is_status 0 "password"; says "sent 3"
    PKGRAPH_REMOTE="http://ann:wrong-secret@127.0.0.1:$port/basic" pk cache push --store s1; is_status 1 "wrong password"
    says_not wrong-secret
fi
PKGRAPH_REMOTE="http://127.0.0.1:$port/token" PKGRAPH_REMOTE_TOKEN=bad pk cache push --store s1; is_status 1 "bad token"
PKGRAPH_REMOTE="http://127.0.0.1:$port/token" PKGRAPH_REMOTE_TOKEN=tok-en pk cache push --store s1; is_status 0 "token"; says "sent 3"
if [ "$have_tls" = 1 ]; then
    PKGRAPH_REMOTE="https://localhost:$tls/tls" pk cache push --store s1; is_status 1 "an unknown authority"
    PKGRAPH_REMOTE="https://localhost:$tls/tls" PKGRAPH_REMOTE_CA="$work/cert.pem" pk cache push --store s1; is_status 0 "TLS"; says "sent 3"
else
    echo "SKIPPED within: TLS (no openssl program)"
fi
unset PKGRAPH_REMOTE
pk cache push --store s1; is_status 2 "no remote"; says "PKGRAPH_REMOTE"
finish
