/* SPDX-License-Identifier: MIT */
#include "tools/pkgraph/report_html.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/json.h"

/* Length of the UTF-8 sequence at p; 0 when it is none (overlong forms and surrogates are left to the browser). */
static size_t utf8(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t n = u[0] < 0x80 ? 1 : u[0] >= 0xc2 && u[0] < 0xe0 ? 2 : u[0] >= 0xe0 && u[0] < 0xf0 ? 3 : u[0] >= 0xf0 && u[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void html_text(struct buf *b, const char *z)
{
    for (const char *p = z ? z : ""; *p;) {
        size_t n = utf8(p);
        if (*p == '&')
            buf_puts(b, "&amp;");
        else if (*p == '<')
            buf_puts(b, "&lt;");
        else if (*p == '>')
            buf_puts(b, "&gt;");
        else if (*p == '"')
            buf_puts(b, "&quot;");
        else if (*p == '\n')
            buf_puts(b, "&#10;");
        else if (n == 1)
            buf_putc(b, (unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p);
        else if (n)
            buf_put(b, p, n);
        else
            buf_puts(b, "\xef\xbf\xbd");
        p += n ? n : 1;
    }
}

void html_textf(struct buf *b, const char *fmt, ...)
{
    char *z = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&z, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    html_text(b, z);
    free(z);
}

void html_num(struct buf *b, double v)
{
    js_write_num(b, v);
}

/* ---- the page ---- */

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfbf9;--fg:#1c1d1f;--dim:#63666b;--line:#dcdcd6;--card:#fff;--heat:#1f5fa8;"
    "--ok:#2e7d4f;--run:#c26a12;--wait:#a08b12;--bad:#b8322a;"
    "--c0:#1f5fa8;--c1:#c8501e;--c2:#2e7d4f;--c3:#8a3ea8;--c4:#a37b00;--c5:#0d8a8f;--c6:#c22c6b;--c7:#5a6570}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e6e7e8;--dim:#9a9ea5;--line:#34383e;--card:#1d2024;--heat:#6aaef2;"
    "--ok:#6cc08f;--run:#eda050;--wait:#d6c353;--bad:#f0766d;"
    "--c0:#6aaef2;--c1:#f28b5b;--c2:#6cc08f;--c3:#c78be6;--c4:#dcb73f;--c5:#4fc6ca;--c6:#f07aa9;--c7:#a4afba}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}"
    "main,header,footer{max-width:1100px;margin:0 auto;padding:0 16px}header{padding-top:24px}h1{font-size:26px;margin:0}"
    "h2{font-size:18px;margin:36px 0 8px;border-top:1px solid var(--line);padding-top:16px}h3{font-size:15px;margin:16px 0 4px}"
    "nav a{margin-right:14px}a{color:var(--heat)}p{margin:4px 0 10px;max-width:76ch}.dim,figcaption{color:var(--dim)}"
    "figure{margin:8px 0}.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:8px;max-height:86vh}"
    "svg{display:block;font:12px system-ui,sans-serif}svg text{fill:var(--fg)}svg .dim{fill:var(--dim)}svg .axis{stroke:var(--line);fill:none}"
    ".edge{stroke:var(--dim);stroke-opacity:.55;fill:none;stroke-width:1.2}.node{fill:var(--card);stroke-width:1.6}.inv{fill:var(--bg)!important}"
    ".heat{fill:var(--heat)}.box{fill:none;stroke:var(--dim)}.band{stroke:none;fill-opacity:.22}.raw{fill:none;stroke-width:1;stroke-opacity:.3}"
    ".mean{fill:none;stroke-width:2;stroke-linejoin:round}.s-ok{stroke:var(--ok)}.s-run{stroke:var(--run)}.s-wait{stroke:var(--wait)}.s-bad{stroke:var(--bad)}"
    "table{border-collapse:collapse;font-size:14px}th,td{padding:4px 10px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}"
    "td small{color:var(--dim);display:block}.base td{font-weight:600}.key{display:inline-block;margin:0 14px 4px 0;white-space:nowrap}"
    ".key i{display:inline-block;width:18px;height:3px;margin:0 5px 3px 2px;vertical-align:middle}"
    "#tip{position:fixed;z-index:9;max-width:320px;white-space:pre-line;background:var(--fg);color:var(--bg);padding:6px 9px;border-radius:5px;"
    "font-size:13px;pointer-events:none}#tip[hidden]{display:none}details{margin:6px 0}summary{cursor:pointer}"
    "@media(max-width:640px){body{font-size:14px}h1{font-size:21px}th,td{padding:3px 6px}}\n"
    "@media print{.scroll{max-height:none;overflow:visible}}\n";

/* No < and no & in it: the page is XML, too. */
static const char script[] =
    "(function(){var d=document,t=d.getElementById('tip');\n"
    "function tip(e){var x=e.target.closest?e.target.closest('[data-t]'):null;if(!x){t.hidden=true;return}\n"
    "t.textContent=x.getAttribute('data-t');t.hidden=false;var w=t.offsetWidth,h=t.offsetHeight,y=e.clientY+16;\n"
    "if(y+h>innerHeight)y=e.clientY-h-12;t.style.left=Math.max(4,Math.min(e.clientX+12,innerWidth-w-8))+'px';t.style.top=Math.max(4,y)+'px'}\n"
    "d.addEventListener('pointermove',tip);d.addEventListener('click',tip);d.addEventListener('scroll',function(){t.hidden=true},true);\n"
    "d.querySelectorAll('input[data-s]').forEach(function(c){function set(){d.querySelectorAll('.'+c.getAttribute('data-s')).forEach(function(p){\n"
    "p.style.display=c.checked?'':'none'})}c.addEventListener('change',set);set()});})();\n";

void html_head(struct buf *b, const char *title)
{
    buf_puts(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>");
    html_text(b, title);
    buf_puts(b, "</title><style>");
    buf_puts(b, style);
    buf_puts(b, "</style></head>\n<body>");
}

void html_tail(struct buf *b)
{
    buf_puts(b, "<div id=\"tip\" hidden=\"hidden\"></div><script>");
    buf_puts(b, script);
    buf_puts(b, "</script></body></html>\n");
}

void html_section(struct buf *b, const char *id, const char *title)
{
    buf_puts(b, "<section id=\"");
    html_text(b, id);
    buf_puts(b, "\"><h2>");
    html_text(b, title);
    buf_puts(b, "</h2>\n");
}

void html_section_end(struct buf *b)
{
    buf_puts(b, "</section>\n");
}
