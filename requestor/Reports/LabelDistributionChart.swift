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

    private func bars() -> Markup {
        let width = 940.0
        let left = 76.0
        let right = 84.0
        let pitch = 30.0
        let widest = Double(max(1, counts.map { $0.map { max(0, $0) }.saturatingSum() }.max() ?? 1))
        var body: [Markup] = []
        for (shard, row) in counts.enumerated() {
            let y = Double(shard) * pitch + 4
            let total = row.saturatingSum()
            body.append(
                .element(
                    "text", [("class", "label end"), ("x", coordinate(left - 10)), ("y", coordinate(y + 15))],
                    text: "shard \(shard)"))
            var x = left
            for (label, count) in row.enumerated() where count > 0 {
                let span = Double(count) / widest * (width - left - right)
                body.append(
                    .element(
                        "rect",
                        [
                            ("x", coordinate(x)), ("y", coordinate(y)), ("width", coordinate(max(0.4, span - 1))),
                            ("height", "22"), ("style", "fill:var(--class\(label))"),
                        ],
                        .element("title", text: title(shard: shard, label: label, count: count, total: total))))
                if span > 30 {
                    body.append(
                        .element(
                            "text",
                            [("class", "inbar"), ("x", coordinate(x + span / 2)), ("y", coordinate(y + 15))],
                            text: String(name(label).prefix(max(1, Int(saturating: span / 8))))))
                }
                x += span
            }
            body.append(
                .element(
                    "text", [("class", "label"), ("x", coordinate(x + 8)), ("y", coordinate(y + 15))],
                    text: Figures.grouped(total)))
        }
        var legend = Markup()
        for label in classes.indices {
            legend += .element(
                "span", [("class", "key")],
                .element("i", [("style", "background:var(--class\(label))")]) + Markup(text: name(label)))
        }
        let height = Double(counts.count) * pitch + 4
        return .element(
            "figure", [("class", "wide")],
            .element("figcaption", [], legend)
                + drawing(width: width, height: height, label: "Examples of each label on each shard", body: body))
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
                    text: name(label)))
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
            "figure", [("class", "wide")],
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
            [("viewBox", "0 0 \(Int(width)) \(Int(height.rounded(.up)))"), ("role", "img"), ("aria-label", label)],
            .lines(body))
    }
}
