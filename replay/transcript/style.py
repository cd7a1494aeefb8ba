"""The look of a transcript's page, light and dark."""

from typing import Final

STYLE: Final = """
:root{--page:#fbfbfa;--card:#fff;--ink:#1d1d1f;--soft:#6a6a70;--line:#e3e3e0;--user:#eef4ff;
--link:#0b5cad;--well:#2b7a3d;--ill:#b3261e;--code:#f4f4f2}
@media (prefers-color-scheme:dark){:root{--page:#151517;--card:#1c1c1f;--ink:#e8e8ea;
--soft:#9a9aa2;--line:#303036;--user:#1b2536;--link:#7db5f0;--well:#79c98b;--ill:#f28b82;
--code:#232327}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main{max-width:52rem;margin:0 auto;padding:1.5rem 1rem}
main{padding-top:0}
h1{font-size:1.5rem;line-height:1.3;margin:0 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:0 0 1rem;padding-bottom:.4rem;border-bottom:1px solid var(--line)}
h2 a{color:inherit;text-decoration:none}
small{font-weight:400;font-size:.8rem;color:var(--soft);margin-left:.5rem}
a{color:var(--link)}
dl{display:grid;gap:.15rem;margin:0;font-size:.88rem}
dl div{display:grid;grid-template-columns:7rem 1fr;gap:.5rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
nav{margin-top:1.2rem;border-top:1px solid var(--line);padding-top:.8rem;font-size:.92rem}
nav ol{margin:0;padding-left:2rem}nav span{font-size:.78rem;color:var(--soft)}
.failed,.interrupted{color:var(--ill)!important}
.turn{margin:0 0 2.5rem;scroll-margin-top:1rem}
article{margin:0 0 .9rem;padding:.7rem .9rem;border:1px solid var(--line);border-radius:.6rem;
background:var(--card)}
article.user{background:var(--user)}
article.thought{background:none;color:var(--soft);font-style:italic}
.head{display:flex;gap:.6rem;align-items:baseline;font-size:.8rem;color:var(--soft);
font-style:normal;margin-bottom:.25rem}
.head b{color:var(--ink)}.head a{margin-left:auto;color:var(--soft);text-decoration:none}
.text{white-space:pre-wrap;overflow-wrap:anywhere}
details{margin:0 0 .9rem;border:1px solid var(--line);border-radius:.6rem;background:var(--card);
font-size:.9rem}
summary{cursor:pointer;padding:.5rem .9rem;overflow-wrap:anywhere}
summary code{color:var(--soft)}
.told{border-style:dashed;background:none;color:var(--soft);margin-bottom:.4rem}
.told summary{padding:.25rem .9rem;font-size:.85rem}
.tool{border-left:3px solid var(--well)}.tool.ill{border-left-color:var(--ill)}
.how{float:right;font-size:.78rem;color:var(--well)}.ill .how{color:var(--ill)}
pre{margin:0;padding:.7rem .9rem;border-top:1px solid var(--line);background:var(--code);
font:13px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace;white-space:pre-wrap;
overflow-wrap:anywhere;max-height:32rem;overflow-y:auto}
pre:last-child{border-radius:0 0 .6rem .6rem}
code{font:13px ui-monospace,"SF Mono",Menlo,Consolas,monospace}
pre.call{background:none;color:var(--soft)}
.remark{margin:0 0 .9rem;font-size:.85rem;color:var(--soft)}
.error{padding:.7rem .9rem;border:1px solid var(--ill);border-radius:.6rem;color:var(--ill);
overflow-wrap:anywhere}
.withdrawn{opacity:.55}
img{max-width:100%;border-radius:.4rem;margin-top:.5rem}
@media print{details:not([open])>*{display:block}body{background:none}}
"""
