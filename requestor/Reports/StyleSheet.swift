/// The page's looks: light and dark follow the reader's system, print is plain.
enum StyleSheet {
    static let text = """
        :root{color-scheme:light dark;--page:#f7f7f5;--panel:#fff;--ink:#1d2024;--muted:#666c74;--rule:#e2e3e1;
        --accent:#2463d6;--other:#c8571b;--third:#7b8189;--wrong:#cf3d3d;--good:#1d7f4e;
        --class0:#4e79a7;--class1:#f28e2b;--class2:#d65557;--class3:#69b0aa;--class4:#59a14f;
        --class5:#e0bb3a;--class6:#a97299;--class7:#f59aa5;--class8:#98735e;--class9:#a9a09c}
        @media (prefers-color-scheme:dark){:root{--page:#15171a;--panel:#1d2024;--ink:#e7e8ea;--muted:#9aa1aa;
        --rule:#30343a;--accent:#6ea0ff;--other:#f2945c;--third:#8b929b;--wrong:#f07474;--good:#5cc592}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--page);color:var(--ink);
        font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
        main{max-width:1020px;margin:0 auto;padding:36px 20px 60px}
        h1{font-size:26px;margin:0 0 2px;letter-spacing:-.01em;overflow-wrap:anywhere}
        h2{font-size:17px;margin:38px 0 12px}
        p{margin:4px 0 10px}.lead,.note{color:var(--muted)}.note{font-size:13px}
        .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(138px,1fr));gap:12px;margin:22px 0 0}
        .tile,.panel{background:var(--panel);border:1px solid var(--rule);border-radius:10px}
        .tile{padding:11px 14px}.tile b{display:block;font-size:20px;font-weight:600;letter-spacing:-.02em;white-space:nowrap}
        .tile.first b{color:var(--accent)}
        .tile span{font-size:12.5px;color:var(--muted)}
        .panel{padding:14px 16px;overflow-x:auto}
        .pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:14px}
        figure{margin:0}figcaption{font-size:13px;color:var(--muted);margin:0 0 8px}
        figcaption b{color:var(--ink);font-size:14px;margin-right:12px}
        .key{display:inline-block;margin-right:11px;white-space:nowrap}
        .key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px;vertical-align:-1px}
        .key i.dash{height:0;border-radius:0;border-top:2px dashed;vertical-align:3px;width:16px}
        svg{display:block;width:100%;height:auto;overflow:visible}svg.matrix{max-width:620px;min-width:420px}
        .matrix-row{display:grid;grid-template-columns:minmax(0,620px) minmax(180px,1fr);gap:24px;align-items:start}
        @media (max-width:820px){.matrix-row{grid-template-columns:1fr}}
        svg text{font-family:inherit;font-variant-numeric:tabular-nums}
        .grid{stroke:var(--rule);stroke-width:1}.curve{fill:none;stroke-width:2;stroke-linejoin:round}.reference{stroke-width:1.3;opacity:.85}
        .level{stroke-width:1.6;stroke-dasharray:5 4}
        .point{stroke:var(--panel);stroke-width:1}.point:hover,.dot:hover{stroke:var(--ink);stroke-width:2}
        .tick{font-size:11px;fill:var(--muted)}.label{font-size:12px;fill:var(--ink)}
        .end{text-anchor:end}.middle{text-anchor:middle}
        .inbar{font-size:11px;fill:#fff;text-anchor:middle;pointer-events:none}
        .heat{fill:var(--accent)}.wrong{fill:var(--wrong)}rect:hover{stroke:var(--ink)}
        .cell{font-size:11px;fill:var(--ink);text-anchor:middle;pointer-events:none}
        .strong{fill:#fff}
        table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
        th{font-weight:500;color:var(--muted);font-size:12.5px;text-align:right;padding:2px 10px 7px;white-space:nowrap}
        td{text-align:right;padding:6px 10px;border-top:1px solid var(--rule);white-space:nowrap}
        th:first-child,td:first-child{text-align:left;padding-left:2px}
        td.text{white-space:normal;overflow-wrap:anywhere;text-align:left}
        tr.first td{font-weight:600}.bar{display:inline-block;height:9px;border-radius:3px;background:var(--accent);
        vertical-align:0}.bar.other{background:var(--third)}td.bars{width:32%;text-align:left}
        .bad{color:var(--wrong)}.good{color:var(--good)}
        details{margin-top:12px}summary{cursor:pointer;color:var(--muted);font-size:14px}
        ul{margin:6px 0;padding-left:20px}code{font:12.5px/1.5 ui-monospace,"DejaVu Sans Mono",monospace;
        overflow-wrap:anywhere}
        footer{margin-top:44px;color:var(--muted);font-size:13px;border-top:1px solid var(--rule);padding-top:12px}
        @media print{body{background:#fff}.tile,.panel{border-color:#ccc;break-inside:avoid}}
        """
}
