/// Test examples by true class (rows) and predicted class (columns). Right answers and mistakes are shaded each by a
/// scale of their own: on one scale 20 mistakes among 1,000 right answers would not be seen.
struct ConfusionMatrixChart {
    var classes: [String]
    /// `[true][predicted]`
    var counts: [[Int]]

    /// More classes are drawn without numbers.
    static let mostWritten = 26

    func markup() -> Markup { counts.count <= Self.mostWritten ? table() : picture() }

    /// How strong a cell is, 0 to 1: right answers by their share of the class, mistakes by the worst one.
    private func strength(_ row: Int, _ column: Int, total: Int, worst: Int) -> Double {
        let count = counts[row][column]
        if row == column { return Double(count) / Double(max(1, total)) }
        return count == 0 ? 0 : 0.12 + 0.88 * Double(count) / Double(max(1, worst))
    }

    private var worst: Int {
        counts.enumerated().flatMap { row, line in
            line.enumerated().compactMap { column, count in row == column ? nil : count }
        }.max() ?? 0
    }

    /// A table, so that its text keeps its size on a narrow screen and can be heard.
    private func table() -> Markup {
        let length = counts.count <= 5 ? 12 : 6
        let head =
            [Markup.element("th", text: "true \\ predicted")]
            + counts.indices.map {
                .element("th", [("scope", "col"), ("title", name($0))], text: Figures.shortened(name($0), to: length))
            }
            + [.element("th", [("class", "recall")], text: "recall")]
        let worst = worst
        let rows = counts.indices.map { row in
            let total = counts[row].saturatingSum()
            let right = counts[row].indices.contains(row) ? counts[row][row] : 0
            let label = Markup.element(
                "th", [("scope", "row"), ("title", name(row))], text: Figures.shortened(name(row), to: 14))
            let cells = counts[row].indices.map { column in
                let share = strength(row, column, total: total, worst: worst)
                let heat = 3 + (100 * Palette.strongestHeat - 3) * share
                let count = counts[row][column]
                return Markup.element(
                    "td",
                    [
                        ("class", row == column ? "right" : "mistake"),
                        ("style", "--heat:\(Figures.decimal(heat, digits: 0))%"),
                        ("title", "true \(name(row)), predicted \(name(column)): \(Figures.grouped(count))"),
                    ], text: count > 0 ? "\(count)" : "")
            }
            let recall = total == 0 ? "–" : Figures.percent(Double(right) / Double(total), digits: 1)
            return Markup.element(
                "tr", [],
                ([label] + cells + [.element("td", [("class", "recall")], text: recall)]).reduce(Markup(), +))
        }
        return .element(
            "table", [("class", "matrix"), ("aria-label", "Confusion matrix of \(counts.count) classes")],
            .element("thead", [], .element("tr", [], head.reduce(Markup(), +)))
                + .element("tbody", [], .lines(rows)))
    }

    private func picture() -> Markup {
        let cell = max(4.0, 620.0 / Double(counts.count))
        let side = Double(counts.count) * cell
        let worst = worst
        var body: [Markup] = []
        for row in counts.indices {
            let total = counts[row].saturatingSum()
            // Of a thousand classes most cells are empty: what is not drawn is light.
            for column in counts[row].indices where counts[row][column] > 0 {
                let share = strength(row, column, total: total, worst: worst)
                body.append(
                    .element(
                        "rect",
                        [
                            ("class", row == column ? "heat" : "heat wrong"), ("x", coordinate(Double(column) * cell)),
                            ("y", coordinate(Double(row) * cell)), ("width", coordinate(cell - 0.5)),
                            ("height", coordinate(cell - 0.5)),
                            ("fill-opacity", Figures.decimal(0.08 + 0.92 * share, digits: 2)),
                        ],
                        .element(
                            "title",
                            text: "true \(name(row)), predicted \(name(column)): "
                                + Figures.grouped(counts[row][column]))))
            }
        }
        let drawing = Markup.element(
            "svg",
            [
                ("viewBox", "0 0 \(Int(side.rounded(.up))) \(Int(side.rounded(.up)))"), ("role", "img"),
                ("style", "max-width:620px"), ("aria-label", "Confusion matrix of \(counts.count) classes"),
            ], .lines(body))
        return .element(
            "figure", [],
            .element("figcaption", text: "A row is a true class, a column a predicted one, both from the first.")
                + drawing)
    }

    /// The pairs taken for each other most often, worst first.
    func worstPairs(_ most: Int) -> [(truth: String, predicted: String, count: Int)] {
        var pairs: [(truth: Int, predicted: Int, count: Int)] = []
        for row in counts.indices {
            for column in counts[row].indices where row != column && counts[row][column] > 0 {
                pairs.append((row, column, counts[row][column]))
            }
        }
        pairs.sort { ($1.count, $0.truth, $0.predicted) < ($0.count, $1.truth, $1.predicted) }
        return pairs.prefix(most).map { (name($0.truth), name($0.predicted), $0.count) }
    }

    private func name(_ label: Int) -> String { classes.indices.contains(label) ? classes[label] : "\(label)" }
}
