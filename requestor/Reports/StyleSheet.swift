/// The page's looks: light and dark follow the reader's system, print is plain.
enum StyleSheet {
    static let text = """
        :root{color-scheme:light dark;\(Palette.light.declarations)}
        @media (prefers-color-scheme:dark){:root{\(Palette.dark.declarations)}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--page);color:var(--ink);
        font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
        main{max-width:1020px;margin:0 auto;padding:36px 20px 60px}
        h1{font-size:26px;line-height:1.25;margin:0 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
        h2{font-size:17px;margin:38px 0 12px}
        p{margin:4px 0 10px}.lead,.note{color:var(--muted)}.note{font-size:13px}.lead{overflow-wrap:anywhere}
        .verdict{font-size:18px;margin:0 0 6px}
        .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(138px,1fr));gap:12px;margin:22px 0 0}
        .tile,.panel{background:var(--panel);border:1px solid var(--rule);border-radius:10px}
        .tile{padding:11px 14px}
        .tile b{display:block;font-size:20px;font-weight:600;letter-spacing:-.02em;white-space:nowrap}
        .tile.wide{grid-column:span 2}.tile.first b{color:var(--accent)}
        .tile span{font-size:12.5px;line-height:1.35;color:var(--muted);display:block}
        .panel{padding:14px 16px;overflow-x:auto;background:
        linear-gradient(90deg,var(--panel) 40%,transparent) 0 0/44px 100% no-repeat local,
        linear-gradient(270deg,var(--panel) 40%,transparent) 100% 0/44px 100% no-repeat local,
        linear-gradient(90deg,var(--shade),transparent) 0 0/13px 100% no-repeat scroll,
        linear-gradient(270deg,var(--shade),transparent) 100% 0/13px 100% no-repeat scroll,var(--panel)}
        .pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(330px,100%),1fr));gap:14px}
        .pair>*{min-width:0}
        figure{margin:0}figcaption{font-size:13px;color:var(--muted);margin:0 0 8px}
        figcaption b{color:var(--ink);font-size:14px;margin-right:12px}
        .key{display:inline-block;margin-right:11px;white-space:nowrap;max-width:100%;overflow:hidden;
        text-overflow:ellipsis;vertical-align:bottom}
        .key i,i.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px;
        vertical-align:-1px}
        i.swatch{border-radius:50%;margin-right:8px}
        .key i.dash{height:0;border-radius:0;border-top:2px dashed;vertical-align:3px;width:16px}
        svg{display:block;width:100%;height:auto;overflow:visible}
        svg text{font-family:inherit;font-variant-numeric:tabular-nums}
        .grid{stroke:var(--rule);stroke-width:1}.curve{fill:none;stroke-width:2;stroke-linejoin:round}
        .reference{stroke-width:1.3;opacity:.85}
        .level{stroke-width:1.6;stroke-dasharray:5 4}.mark{stroke:var(--muted);stroke-width:1;stroke-dasharray:2 3}
        .point{stroke:var(--panel);stroke-width:1}.point:hover,.dot:hover{stroke:var(--ink);stroke-width:2}
        .plot .tick{paint-order:stroke;stroke:var(--panel);stroke-width:3px}
        .pair td,.pair th{padding-left:8px;padding-right:8px}
        .tick{font-size:11px;fill:var(--muted)}.label{font-size:12px;fill:var(--ink)}
        .end{text-anchor:end}.middle{text-anchor:middle}
        .scale{accent-color:var(--accent);margin:0 4px 0 0;vertical-align:-1px}
        .scale+label{font-size:12.5px;color:var(--muted);margin-right:12px;cursor:pointer}
        .log{display:none}.scale.logarithmic:checked~.linear{display:none}.scale.logarithmic:checked~.log{display:block}
        .dots{display:grid;grid-template-columns:max-content minmax(90px,1fr) max-content;gap:0 14px;
        align-items:center;
        font-variant-numeric:tabular-nums}
        .dots b{font-weight:600;text-align:right}
        .track{position:relative;height:28px;margin:0 16px;background:linear-gradient(var(--rule),
        var(--rule)) 0 50%/100% 1px no-repeat}
        .track i{position:absolute;top:50%;width:13px;height:13px;margin:-6.5px 0 0 -6.5px;border-radius:50%}
        .track u{position:absolute;top:0;bottom:0;width:1px;background:var(--rule)}
        .scaleline{position:relative;height:17px;margin:0 16px;font-size:11px;color:var(--muted)}
        .scaleline span{position:absolute;transform:translateX(-50%);white-space:nowrap}
        .shards{display:grid;grid-template-columns:max-content 1fr max-content;gap:6px 10px;align-items:center;
        font-size:13px;
        font-variant-numeric:tabular-nums}
        .stack{display:flex;height:24px;gap:1px;min-width:0}.stack i{min-width:0;overflow:hidden;white-space:nowrap;
        color:var(--inbar);font-style:normal;font-size:12px;line-height:24px;text-align:center;border-radius:2px}
        .heat{fill:var(--accent)}.wrong{fill:var(--wrong)}rect:hover{stroke:var(--ink)}
        .cell{font-size:11px;fill:var(--ink);text-anchor:middle;pointer-events:none}
        table.matrix{width:auto;border-collapse:separate;border-spacing:2px;font-size:12px}
        table.matrix td,table.matrix th{border:0;padding:0 3px;text-align:center;min-width:34px;height:32px;
        border-radius:3px}
        table.matrix th{font-size:12px;color:var(--muted)}
        table.matrix tbody th{text-align:right;color:var(--ink);padding-right:8px;
        background:var(--panel);position:sticky;left:-16px;max-width:110px;overflow:hidden;text-overflow:ellipsis}
        .matrix td.right{background:color-mix(in srgb,var(--accent) var(--heat),var(--panel))}
        .matrix td.mistake{background:color-mix(in srgb,var(--wrong) var(--heat),var(--panel))}
        .matrix td.recall{color:var(--muted);padding-left:10px}
        .matrix-row{display:grid;grid-template-columns:max-content minmax(180px,1fr);gap:24px;align-items:start}
        .mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(92px,1fr));gap:16px}
        .mistakes figure{min-width:0}
        .mistakes img{display:block;width:84px;height:84px;object-fit:contain;image-rendering:pixelated;
        border-radius:4px;border:1px solid var(--rule);background:#000}
        .mistakes figcaption{margin:5px 0 0;line-height:1.35;overflow-wrap:anywhere}
        .mistakes figcaption b{display:block;margin:0}
        table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
        th{font-weight:500;color:var(--muted);font-size:12.5px;text-align:right;padding:2px 10px 7px;white-space:nowrap}
        td{text-align:right;padding:6px 10px;border-top:1px solid var(--rule);white-space:nowrap}
        thead td{border:0}
        th:first-child,td:first-child{text-align:left;padding-left:2px}
        td.text,th.text{white-space:normal;overflow-wrap:anywhere;text-align:left}
        td.wrap{white-space:normal;min-width:120px}td.name{vertical-align:top}
        tr.first td{font-weight:600}
        .bad{color:var(--wrong)}.good{color:var(--good)}
        details{margin-top:12px}summary{cursor:pointer;color:var(--muted);font-size:14px}
        ul{margin:6px 0;padding-left:20px}code{font:12.5px/1.5 ui-monospace,"DejaVu Sans Mono",monospace;
        overflow-wrap:anywhere}
        .commands{display:grid;gap:10px}.commands code{display:block;user-select:all;white-space:pre}
        .commands p{margin:0;font-size:13px;color:var(--muted)}
        footer{margin-top:44px;color:var(--muted);font-size:13px;border-top:1px solid var(--rule);padding-top:12px}
        @media (max-width:820px){.matrix-row{grid-template-columns:minmax(0,1fr)}.stack .long{font-size:0}}
        @media (max-width:520px){main{padding:24px 14px 48px}.panel{padding:12px}svg.plot .tick{font-size:15px}
        svg.wide{min-width:760px}.dots{grid-template-columns:1fr max-content;grid-auto-flow:dense}
        .dots .track,.dots .scaleline{grid-column:1/3;grid-row:auto}
        .dots b{grid-column:2;grid-row:auto}.dots .gap{display:none}
        table.matrix{border-spacing:1px;font-size:11px}
        table.matrix td,table.matrix th{min-width:22px;height:26px;padding:0 1px}
        table.matrix tbody th{padding-right:4px;max-width:74px;left:-12px}.matrix .recall{display:none}
        td,th{padding-left:7px;padding-right:7px}.stack i{font-size:11px}}
        @media (min-width:1700px){main{max-width:1440px}body{font-size:16px}svg.plot .tick{font-size:8.5px}}
        @media print{body{background:#fff}.tile,.panel{border-color:#ccc;break-inside:avoid}
        .scale,.scale+label{display:none}}
        """
}
