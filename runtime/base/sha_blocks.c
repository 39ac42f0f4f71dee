/* SPDX-License-Identifier: MIT */
#include "runtime/base/sha_blocks.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* the stable low-level calls, whose state can be set */
#include <openssl/sha.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "runtime/base/dso.h"

enum { MANY = 1024 /* blocks for which it pays to load libcrypto */ };

const uint32_t sha_begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t k256[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ---- plain ---- */

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void schedule(uint32_t w[64], const uint8_t *p)
{
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
}

void sha_blocks_plain(uint32_t h[8], const uint8_t *p, size_t n)
{
    for (; n; n--, p += 64) {
        uint32_t w[64], s[8]; /* s: a to h; they change places in every round, so that nothing moves */
        schedule(w, p);
        memcpy(s, h, sizeof s);
        for (int i = 0; i < 64; i += 8)
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                uint32_t a = s[-j & 7], b = s[(1 - j) & 7], c = s[(2 - j) & 7], e = s[(4 - j) & 7], f = s[(5 - j) & 7], g = s[(6 - j) & 7];
                uint32_t t = s[(7 - j) & 7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k256[i + j] + w[i + j];
                s[(3 - j) & 7] += t;
                s[(7 - j) & 7] = t + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            }
        for (int i = 0; i < 8; i++)
            h[i] += s[i];
    }
}

/* ---- the processor's instructions ---- */

#if defined(__x86_64__)
static bool has_instructions(void)
{
    static _Atomic int known; /* 0: not looked yet, 1: no, 2: yes */
    if (!known) {
        unsigned a, b = 0, c = 0, d, need = bit_SSSE3 | bit_SSE4_1;
        bool sse = __get_cpuid(1, &a, &b, &c, &d) && (c & need) == need;
        known = sse && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) ? 2 : 1;
    }
    return known == 2;
}

/* The instructions want the state as (a, b, e, f) and (c, d, g, h), highest first, and do two rounds each; w[i % 4] holds the
 * four message words of group i. */
__attribute__((target("sha,sse4.1"))) bool sha_blocks_hardware(uint32_t h[8], const uint8_t *p, size_t n)
{
    if (!has_instructions())
        return false;
    const __m128i bytes = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1), efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(abcd, efgh, 8), cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);
    for (; n; n--, p += 64) {
        __m128i w[4], abef0 = abef, cdgh0 = cdgh;
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            if (i < 4)
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), bytes);
            else
                w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4)),
                                                w[(i + 3) % 4]);
            __m128i x = _mm_add_epi32(w[i % 4], _mm_load_si128((const __m128i *)(k256 + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, x);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(x, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    abcd = _mm_shuffle_epi32(abef, 0x1b);
    efgh = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(abcd, efgh, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(efgh, abcd, 8));
    return true;
}
#else
bool sha_blocks_hardware(uint32_t h[8], const uint8_t *p, size_t n)
{
    (void)h, (void)p, (void)n;
    return false;
}
#endif

/* ---- libcrypto ---- */

#define CRYPTO_CALLS(X) X(SHA256_Init) X(SHA256_Update)

static struct {
    CRYPTO_CALLS(DSO_FIELD)
} crypto;
static const char *const crypto_names[] = {CRYPTO_CALLS(DSO_NAME)};
static struct dso crypto_library = DSO("OpenSSL", PKG_CRYPTO_FILE, PKG_CRYPTO_PACKAGE, crypto_names, crypto);

bool sha_blocks_crypto(uint32_t h[8], const uint8_t *p, size_t n)
{
    struct err ignored;
    SHA256_CTX c;
    if (dso_load(&crypto_library, &ignored) || crypto.SHA256_Init(&c) != 1)
        return false;
    for (int i = 0; i < 8; i++)
        c.h[i] = h[i];
    crypto.SHA256_Update(&c, p, 64 * n);
    for (int i = 0; i < 8; i++)
        h[i] = c.h[i];
    return true;
}

void sha_blocks(uint32_t h[8], const uint8_t *p, size_t n)
{
    if (!sha_blocks_hardware(h, p, n) && !(n >= MANY && sha_blocks_crypto(h, p, n)))
        sha_blocks_plain(h, p, n);
}
