/// Test examples by true class (rows) and predicted class (columns). Right answers and mistakes are shaded each by a
/// scale of their own: on one scale 20 mistakes among 1,000 right answers would not be seen.
struct ConfusionMatrixChart {
    var classes: [String]
    /// `[true][predicted]`
    var counts: [[Int]]

    func markup() -> Markup {
        let number = counts.count
        let left = 92.0
        let top = 46.0
        let cell = number <= 12 ? 40.0 : max(7.0, 520.0 / Double(max(1, number)))
        let numbers = cell >= 26
        let width = left + Double(number) * cell + 84
        let height = top + Double(number) * cell + 6
        let mistakes = counts.enumerated().flatMap { row, line in
            line.enumerated().compactMap { column, count in row == column ? nil : count }
        }
        let worst = Double(max(1, mistakes.max() ?? 1))

        var body: [Markup] = [
            .element("text", [("class", "tick"), ("x", coordinate(left)), ("y", "14")], text: "predicted →"),
            .element(
                "text", [("class", "tick end"), ("x", coordinate(left - 10)), ("y", coordinate(top - 8))],
                text: "true ↓"),
            .element(
                "text", [("class", "tick"), ("x", coordinate(width - 74)), ("y", coordinate(top - 8))],
                text: "recall"),
        ]
        for row in counts.indices {
            let y = top + Double(row) * cell
            let total = counts[row].saturatingSum()
            let right = counts[row].indices.contains(row) ? counts[row][row] : 0
            if cell >= 12 {
                body.append(
                    .element(
                        "text",
                        [("class", "label end"), ("x", coordinate(left - 10)), ("y", coordinate(y + cell / 2 + 4))],
                        text: shortened(row, to: 12)))
                body.append(
                    .element(
                        "text",
                        [
                            ("class", "tick middle"), ("x", coordinate(left + (Double(row) + 0.5) * cell)),
                            ("y", coordinate(top - 8)),
                        ], text: shortened(row, to: max(1, Int(cell / 7)))))
                let recall = total == 0 ? "–" : Figures.percent(Double(right) / Double(total), digits: 1)
                body.append(
                    .element(
                        "text",
                        [("class", "label"), ("x", coordinate(width - 74)), ("y", coordinate(y + cell / 2 + 4))],
                        text: recall))
            }
            for column in counts[row].indices {
                let count = counts[row][column]
                let share =
                    row == column
                    ? Double(count) / Double(max(1, total)) : count == 0 ? 0 : 0.12 + 0.88 * Double(count) / worst
                let x = left + Double(column) * cell
                body.append(
                    .element(
                        "rect",
                        [
                            ("class", row == column ? "heat" : "heat wrong"), ("x", coordinate(x)),
                            ("y", coordinate(y)), ("width", coordinate(cell - 1.5)), ("height", coordinate(cell - 1.5)),
                            ("rx", "2"), ("fill-opacity", Figures.decimal(0.04 + 0.86 * share, digits: 2)),
                        ],
                        .element(
                            "title",
                            text: "true \(name(row)), predicted \(name(column)): \(Figures.grouped(count))")))
                if numbers, count > 0 {
                    body.append(
                        .element(
                            "text",
                            [
                                ("class", share > 0.55 ? "cell strong" : "cell"), ("x", coordinate(x + cell / 2 - 0.7)),
                                ("y", coordinate(y + cell / 2 + 3.5)),
                            ], text: String(count)))
                }
            }
        }
        let drawing = Markup.element(
            "svg",
            [
                ("viewBox", "0 0 \(Int(width)) \(Int(height))"), ("role", "img"), ("class", "matrix"),
                ("aria-label", "Confusion matrix of \(number) classes"),
            ], .lines(body))
        return .element("figure", [("class", "matrix")], drawing)
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

    private func shortened(_ label: Int, to length: Int) -> String {
        let full = name(label)
        return full.count <= length ? full : String(full.prefix(max(1, length - 1))) + "…"
    }
}
