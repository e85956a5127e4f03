"""The looks of the export's page beyond those of every page of this package."""

from __future__ import annotations

from keras_vit.export import plot

STYLE = (
    plot.STYLE
    + """
ol.legend { padding-left: 1.6rem; margin: .6rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 12px; }
.card { margin: 0; padding: .7rem; background: var(--panel); border-radius: 8px; min-width: 0; }
.card h4 { margin: 0 0 .5rem; font-size: .95rem; overflow-wrap: anywhere; }
.card img { display: block; width: 110px; height: auto; border-radius: 4px; }
.card img.wide { width: 100%; margin-bottom: .5rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; font-size: .82rem; line-height: 1.35; }
.sample { display: grid; grid-template-columns: 110px 1fr 1fr; gap: 10px; font-size: .82rem; line-height: 1.35; }
.sample ul, .pair ul { list-style: none; margin: 0; padding: 0; overflow-wrap: anywhere; }
.sample li, .pair li { margin-bottom: .3rem; }
.bars { display: grid; grid-template-columns: auto 1fr; gap: 2px 8px; font-size: .8rem; align-items: center; }
.bars span { white-space: nowrap; }
.wrapped { white-space: normal; display: inline-block; min-width: 14rem; text-align: left; }
.bar { background: var(--faint); border-radius: 2px; height: .8em; display: inline-block; margin-right: 6px; }
.bar.float.mixed { background: var(--bad); } .bar.hybrid { background: var(--link); }
.bar.int8, .bar.int16 { background: var(--good); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .5rem; overflow-wrap: anywhere; }
"""
)
