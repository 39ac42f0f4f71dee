/* SPDX-License-Identifier: MIT
 *
 * bytes: the tokenizer of models made from nothing: 256 bytes, then <s> (BOS, 256), </s> (EOS, 257), <pad> (258), as a
 * tokenizer.json that other programs read: byte-level BPE without merges, BOS in front.
 */
#ifndef PKG_TEXT_BYTES_H
#define PKG_TEXT_BYTES_H

#include "runtime/base/json.h"

enum { BYTES_BOS = 256, BYTES_EOS = 257, BYTES_PAD = 258, BYTES_VOCAB = 259 };

struct js *bytes_tokenizer(void); /* tokenizer.json; NULL when out of memory */

#endif
