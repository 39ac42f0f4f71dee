/* SPDX-License-Identifier: MIT
 *
 * schema: the JSON Schema of the spec language, for completion and checking in editors.
 */
#include "engine/schema.h"

#include "ops/table.h"
#include "runtime/base/json.h"
#include "tools/pkgraph/cli.h"
#include "tools/pkgraph/term.h"

static int run_schema(const struct args *a)
{
    (void)a;
    struct buf b = {0};
    struct js *j = schema_make(ops_table);
    if (!j) {
        say_error("out of memory");
        return STATUS_FAILED;
    }
    js_write_pretty(&b, j);
    buf_putc(&b, '\n');
    js_free(j);
    return print_buf(&b);
}

static const struct option_def options[] = {OPTIONS_HELP, {0}};

const struct command cmd_schema = {
    .name = "schema",
    .usage = "",
    .summary = "print the JSON Schema of specs, for completion in editors",
    .about = "In an editor with the YAML language server, the first line of a spec names the file:\n"
             "  # yaml-language-server: $schema=pkgraph.schema.json",
    .example = "pkgraph schema > pkgraph.schema.json",
    .options = options,
    .run = run_schema,
};
