"""A page for people where a protocol wants one (TAP 1.1 §2): no script, no other host, no template."""

from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 17px/1.55 Georgia, "Times New Roman", serif; max-width: 60rem; margin: 3rem auto; padding: 0 1.2rem; }}
h1 {{ font-weight: 400; }} code {{ font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; }} th, td {{ font-weight: 400; text-align: left; vertical-align: top; padding: .3rem 1rem .3rem 0; }}
</style></head>
<body><main><h1>{title}</h1>
{content}
</main></body></html>
"""  # noqa: E501 (style sheets have no line breaks to spare)


def page(title: str, content: str) -> str:
    """HTML. title: text; content: HTML, in which what is not ours is escaped."""
    return _PAGE.format(title=escape(title), content=content)
