/* SPDX-License-Identifier: MIT
 * The rows of synth: rows and digests of whole sets that an independent program computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ops/lib/synth_rows.h"
#include "runtime/base/buf.h"
#include "runtime/base/sha.h"

static void rows(void **state)
{
    static const struct {
        enum synth_split split;
        uint64_t seed, i;
        int difficulty;
        const char *user, *assistant;
    } cases[] = {
        {SYNTH_TRAIN, 0, 0, 3, "Kim has 99 keys and gets 71.", "9+1=10,9+7+1=17 #### 170"},
        {SYNTH_TRAIN, 0, 2, 3, "Ann has 83 eggs in a bag x3.", "3*3=09,8*3+0=24 #### 249"},
        {SYNTH_TRAIN, 100, 1, 2, "Kim has 86 cups but lost 60.", "06-0=6,8-6-0=2 #### 26"},
        {SYNTH_SEED, 2, 1, 3, "Ann has 73 figs but lost 57.", "13-7=6,7-5-1=1 #### 16"},
        {SYNTH_TEST, 1, 0, 3, "Ann has 48 eggs in a bag x2.", "8*2=16,4*2+1=09 #### 96"},
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct synth_row row;
        synth_arithmetic(cases[k].seed, cases[k].split, cases[k].difficulty, cases[k].i, &row);
        assert_string_equal(row.user, cases[k].user);
        assert_string_equal(row.assistant, cases[k].assistant);
    }
}

static void digests(void **state)
{
    static const struct {
        enum synth_split split;
        uint64_t seed, n;
        int difficulty;
        const char *digest; /* of "user TAB assistant LF" of all rows, its first digits */
    } sets[] = {
        {SYNTH_TRAIN, 0, 14400, 3, "fd1758dd68ff7fb2"}, {SYNTH_TRAIN, 100, 7200, 2, "735a30c70bb4e911"},
        {SYNTH_SEED, 2, 32, 3, "9436e91c29820e22"},     {SYNTH_TRAIN, 1000, 1536, 3, "5f71476645139ee4"},
        {SYNTH_TEST, 1, 384, 3, "8125684939148b7a"},
    };
    (void)state;
    for (size_t k = 0; k < sizeof sets / sizeof sets[0]; k++) {
        struct buf b = {0};
        struct digest d;
        char hex[DIGEST_HEX];
        for (uint64_t i = 0; i < sets[k].n; i++) {
            struct synth_row row;
            synth_arithmetic(sets[k].seed, sets[k].split, sets[k].difficulty, i, &row);
            assert_int_equal(strlen(row.user), 28);
            assert_in_range(strlen(row.assistant), 21, 24);
            buf_printf(&b, "%s\t%s\n", row.user, row.assistant);
        }
        sha_bytes(b.p, b.n, &d);
        digest_hex(&d, hex);
        hex[16] = 0;
        assert_string_equal(hex, sets[k].digest);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows), cmocka_unit_test(digests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
