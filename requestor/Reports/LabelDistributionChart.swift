/// Which labels lie on which shard: stacked bars for a few shards, a heat map (a column a shard) for many.
struct LabelDistributionChart {
    var classes: [String]
    /// `[shards][classes]`
    var counts: [[Int]]

    /// More columns than this would be thinner than a pixel.
    static let mostColumns = 300

    func markup() -> Markup {
        counts.count <= 12 && classes.count <= 10 ? bars() : heatMap()
    }

    /// HTML, not SVG, so that names and numbers keep their size on a narrow screen.
    private func bars() -> Markup {
        let widest = Double(max(1, counts.map { $0.map { max(0, $0) }.saturatingSum() }.max() ?? 1))
        var parts: [Markup] = []
        for (shard, row) in counts.enumerated() {
            let total = row.map { max(0, $0) }.saturatingSum()
            let pieces = row.enumerated().filter { $0.element > 0 }.map { label, count in
                let share = Double(count) / widest
                let text = name(label)
                // A text of some 7 pixels a letter; of long names only a wide screen has room for as many.
                let fits = Double(text.count) * 7 + 4 <= share * 780
                let fitsNarrow = Double(text.count) * 7 + 2 <= share * 240
                return Markup.element(
                    "i",
                    [
                        ("class", fitsNarrow ? "" : "long"),
                        ("style", "flex:\(count) 1 0;background:var(--class\(label))"),
                        ("title", title(shard: shard, label: label, count: count, total: total)),
                    ], text: fits ? text : "")
            }
            let width = Figures.decimal(Double(total) / widest * 100, digits: 1)
            parts += [
                .element("span", text: "shard \(shard)"),
                .element(
                    "div", [("class", "stack"), ("style", "width:\(width)%")], pieces.reduce(Markup(), +)),
                .element("span", text: Figures.grouped(total)),
            ]
        }
        var legend = Markup()
        for label in classes.indices {
            legend += .element(
                "span", [("class", "key")],
                .element("i", [("style", "background:var(--class\(label))")]) + Markup(text: name(label)))
        }
        let label = "Examples of each label on each shard"
        return .element(
            "figure", [],
            .element("figcaption", [], legend)
                + .element("div", [("class", "shards"), ("role", "group"), ("aria-label", label)], .lines(parts)))
    }

    private func heatMap() -> Markup {
        let width = 940.0
        let left = 76.0
        let shown = min(counts.count, Self.mostColumns)
        let cell = (width - left) / Double(max(1, shown))
        let row = classes.count > 30 ? 9.0 : 18.0
        let most = Double(max(1, counts.prefix(shown).flatMap { $0 }.max() ?? 1))
        var body: [Markup] = []
        for label in classes.indices {
            let y = Double(label) * row
            body.append(
                .element(
                    "text", [("class", "label end"), ("x", coordinate(left - 8)), ("y", coordinate(y + row * 0.72))],
                    text: Figures.shortened(name(label), to: 10)))
            for shard in 0..<shown {
                let count = counts[shard].indices.contains(label) ? counts[shard][label] : 0
                guard count > 0 else { continue }
                let total = counts[shard].saturatingSum()
                body.append(
                    .element(
                        "rect",
                        [
                            ("class", "heat"), ("x", coordinate(left + Double(shard) * cell)), ("y", coordinate(y)),
                            ("width", coordinate(max(0.5, cell - (cell > 4 ? 1 : 0)))), ("height", coordinate(row - 1)),
                            ("fill-opacity", Figures.decimal(0.08 + 0.92 * Double(count) / most, digits: 2)),
                        ],
                        .element("title", text: title(shard: shard, label: label, count: count, total: total))))
            }
        }
        let height = Double(classes.count) * row + 18
        body.append(
            .element(
                "text", [("class", "tick"), ("x", coordinate(left)), ("y", coordinate(height - 4))],
                text: "shard 0"))
        body.append(
            .element(
                "text", [("class", "tick end"), ("x", coordinate(width)), ("y", coordinate(height - 4))],
                text: "shard \(shown - 1)" + (shown < counts.count ? " of \(Figures.grouped(counts.count))" : "")))
        return .element(
            "figure", [],
            .element(
                "figcaption", [],
                Markup(
                    text: "A column is a shard, a row a label; the darkest cell holds \(Figures.grouped(most)) "
                        + "examples."))
                + drawing(width: width, height: height, label: "Examples of each label on each shard", body: body))
    }

    private func name(_ label: Int) -> String { classes.indices.contains(label) ? classes[label] : "\(label)" }

    private func title(shard: Int, label: Int, count: Int, total: Int) -> String {
        "shard \(shard), label \(name(label)): \(Figures.grouped(count)) of \(Figures.grouped(total)) "
            + "(\(Figures.percent(Double(count) / Double(max(1, total)), digits: 1)))"
    }

    private func drawing(width: Double, height: Double, label: String, body: [Markup]) -> Markup {
        .element(
            "svg",
            [
                ("class", "wide"), ("viewBox", "0 0 \(Int(width)) \(Int(height.rounded(.up)))"), ("role", "img"),
                ("aria-label", label),
            ],
            .lines(body))
    }
}
