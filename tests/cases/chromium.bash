# SPDX-License-Identifier: MIT
# For scripts that look at a page in headless Chromium. Sourced behind lib.bash. Without Chromium the script is skipped, loudly.
browser=${PKG_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$browser" ] || { echo "SKIPPED: no Chromium (apt install chromium, or set PKG_CHROMIUM): the page was not rendered"; exit 77; }

# What a person would notice, asked of the rendered page: sections and pictures that take no room, a page wider than the window,
# texts outside their picture, hints that do not come, switches that hide nothing. The answers end up in #probe.
cat >probe.js <<'J'
(function(){var d=document,out=[],box=function(x){return x.getBoundingClientRect()};
d.querySelectorAll('details').forEach(function(x){x.open=true});
d.querySelectorAll('section').forEach(function(s){if(box(s).height<20)out.push('empty section '+s.id)});
d.querySelectorAll('svg').forEach(function(s){var b=box(s);if(b.width<20||b.height<10)out.push('a picture without size in '+s.closest('section').id);
s.querySelectorAll('text').forEach(function(t){var r=box(t);if(r.width&&(r.left<b.left-1||r.right>b.right+1||r.top<b.top-1||r.bottom>b.bottom+1))
out.push('text outside its picture in '+s.closest('section').id+': '+t.textContent)})});
if(d.documentElement.scrollWidth>innerWidth)out.push('the page is '+d.documentElement.scrollWidth+' wide in a window of '+innerWidth);
var hint=d.querySelector('[data-t]'),tip=d.getElementById('tip');
if(hint){hint.dispatchEvent(new MouseEvent('click',{bubbles:true,clientX:5,clientY:5}));
if(tip.hidden||tip.textContent!==hint.getAttribute('data-t'))out.push('no hint')}
var c=d.querySelector('input[data-s]');
if(c){var line=d.querySelector('.'+c.getAttribute('data-s'));c.click();if(getComputedStyle(line).display!=='none')out.push('a switch that hides nothing');c.click()}
var p=d.createElement('pre');p.id='probe';p.textContent=out.length?out.join('\n'):'all well in '+innerWidth+', '+d.querySelectorAll('svg').length+' pictures, '+
getComputedStyle(d.body).backgroundColor;d.body.appendChild(p)})();
J

# rendered PAGE WIDTH DOM [OPTION...]: opens the page with the probe behind it; complains about what it or the console says
rendered() {
    local page=$1 width=$2 dom=$3
    shift 3
    # only what stands before </body> is kept as it is: the page under test plus the probe
    python3 - "$page" probe.js >probed.html <<'P'
import sys
page, probe = (open(f, encoding="utf-8").read() for f in sys.argv[1:3])
head, tail = page.rsplit("</body>", 1)
sys.stdout.write(head + "<script>" + probe + "</script></body>" + tail)
P
    timeout 60 "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/browser" --enable-logging=stderr \
        --window-size="$width,900" --virtual-time-budget=2000 --dump-dom "$@" "file://$PWD/probed.html" >"$dom" 2>browser.log
    status=$? out=$(sed -n '/<pre id="probe">/,/<\/pre>/p' "$dom") errors=$(grep -E 'CONSOLE|Uncaught' browser.log)
    is_status 0 "Chromium, $page at $width"
    [ -z "$errors" ] || fail "the console speaks: $page at $width"
    says "all well" "$page at $width"
}
