/* SPDX-License-Identifier: MIT
 *
 * report_html: a small writer of HTML that is well-formed XML too. Markup is appended with buf_puts and buf_printf, whose
 * arguments are numbers and literals alone; every word from outside goes through html_text or html_textf, which escape.
 */
#ifndef PKG_TOOLS_REPORT_HTML_H
#define PKG_TOOLS_REPORT_HTML_H

#include "runtime/base/buf.h"

/* Escaped for text and for attributes in double quotes; what XML cannot hold becomes a space or U+FFFD. */
void html_text(struct buf *b, const char *z);
void html_textf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A number as the artifacts have it (shortest round trip). */
void html_num(struct buf *b, double v);

void html_head(struct buf *b, const char *title); /* up to <main> */
void html_tail(struct buf *b);                    /* from </main>, with the script */
void html_section(struct buf *b, const char *id, const char *title);
void html_section_end(struct buf *b);

#endif
