# SPDX-License-Identifier: MIT
# Includes point one way, runtime <- engine <- ops <- tools, and a third-party header stands in one wrapper only.
cd "$PKG_SOURCE" || exit 1
bad=0
complain() { echo "$1"; bad=1; }

# wrong FOLDER PATTERN: no file of FOLDER includes a header that matches
wrong() {
    hits=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[\"<]($2)/" "$1" --include='*.[ch]')
    [ -z "$hits" ] || complain "$1 may not include $2:
$hits"
}
wrong runtime 'engine|ops|tools'
wrong engine 'ops|tools'
wrong ops tools

# only HEADERS FILES: the headers (an extended regular expression) stand in these files alone
only() {
    hits=$(grep -rlE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[\"<]($1)[\">]" runtime engine ops tools --include='*.[ch]' | sort)
    for f in $hits; do
        case " $2 " in *" ${f%.*} "*) ;; *) complain "$f includes $1, which belongs to $2" ;; esac
    done
}
only 'yaml\.h' 'engine/yaml'
only 'sqlite3\.h' 'runtime/store/db'
only 'openssl/.*' 'runtime/base/sha'
only 'jansson\.h' 'runtime/base/json'
only 'pcre2\.h' 'runtime/text/regex'
only 'utf8proc\.h' 'runtime/text/normalize'
only 'uv\.h' 'runtime/exec/pool engine/sched'

# gemm may be a pair of files (the products, the libraries); blas holds the table of BLAS and LAPACK for gemm_lib and svd
only 'dnnl[a-z_]*\.h|oneapi/.*' 'runtime/kernels/gemm runtime/kernels/gemm_lib'
only 'cblas[a-z0-9_]*\.h|lapacke?[a-z_]*\.h|f77blas\.h|openblas_config\.h' 'runtime/kernels/blas'
only 'curl/.*' 'runtime/exec/http'

# What a graph is made from is seen by the watch (runtime/base/watch.h), or a remembered plan would outlive a change: files are
# opened through fs, except in these, which call watch_file, only write, or look at what no plan depends on.
seen='runtime/formats/(safetensors|gguf|torch)\.c runtime/formats/(gguf|safetensors)_write\.c runtime/model/[a-z_]*write\.c engine/(budget|runner|sources|spec|memo)\.c ops/(data|synth|lib/journal)\.c'
hits=$(grep -rnE '(^|[^a-z_>.])(open|openat|fopen|stat|lstat|access|opendir|readlink|realpath) *\(' runtime/formats runtime/text runtime/model engine ops --include='*.c' |
       grep -vE "^($(echo "$seen" | tr ' ' '|')):" | grep -vE '^[^:]*:[0-9]*: *(\*|/\*|//)')
[ -z "$hits" ] || complain "files that no watch sees:
$hits"
for f in safetensors gguf torch; do grep -q watch_file runtime/formats/$f.c || complain "runtime/formats/$f.c does not call watch_file"; done
hits=$(grep -rnE '(^|[^a-z_])(secure_)?getenv *\(' runtime engine ops --include='*.c' | grep -vE '^(runtime/(base/watch|store/remote)|ops/lib/judge)\.c:')
[ -z "$hits" ] || complain "environment variables that no watch sees (watch_env):
$hits"

# below tools/ nothing prints, exits or aborts
hits=$(grep -rnE '(^|[^a-z_])(printf|puts|putchar|perror|exit|abort) *\(|f(printf|puts|putc) *\([^,]*std(out|err)' runtime engine ops --include='*.c' |
       grep -vE '^[^:]*:[0-9]*: *(\*|/\*|//)')
[ -z "$hits" ] || complain "printing or ending the process below tools/:
$hits"
[ $bad = 0 ] && echo "includes point one way"
exit $bad
